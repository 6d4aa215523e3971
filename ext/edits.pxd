# Changes to a parsed head, collected and then written in one pass.
from libc.stdint cimport uint32_t
from ext.fields cimport Text
from ext.http1 cimport Head

cdef enum EditOp:
    EDIT_DEL                       # every field of the name
    EDIT_SET                       # the one field of the name, at the end
    EDIT_ADD                       # one more field, at the end
    EDIT_DROP                      # the field at `index` of the head
    EDIT_REPLACE                   # its value: same place, same name
    EDIT_METHOD                    # of a request
    EDIT_TARGET

cdef enum:
    EDITS_MAX = 64                 # between two readings of the head; more than a rule file has
    EDIT_BYTES_MAX = 65536         # of names and values: less than HEAD_BYTES_MAX

cdef struct Edit:
    int op                         # EditOp
    int id                         # HeaderId of the name
    uint32_t index                 # EDIT_DROP, EDIT_REPLACE: in head.fields
    Text name                      # in the scratch of Edits
    Text value

cdef class Edits:
    cdef Edit rows[EDITS_MAX]
    cdef readonly int count
    cdef char *scratch
    cdef uint32_t used

    cdef void clear(self) noexcept
    cdef bint add(self, int op, const Text *name, const Text *value) noexcept
    cdef bint replace(self, const Head *head, uint32_t index, const Text *value) noexcept
    cdef bint drop(self, const Head *head, uint32_t index) noexcept
    cdef bint set_method(self, const Text *method) noexcept
    cdef bint set_target(self, const Text *target) noexcept
    cdef bint hold(self, Text *out, const Text *text) noexcept
    cdef Edit *row(self, int op) noexcept

cdef bint may_edit(int op, const Text *name) noexcept
cdef uint32_t edited_room(const Head *head, Edits edits) noexcept
cdef uint32_t write_edited(const Head *head, Edits edits, char *out) noexcept
