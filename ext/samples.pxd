# What rules read of a request, an answer, or the program's state.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from ext.client cimport Client
from ext.fields cimport Text
from ext.http1 cimport Head
from ext.limits cimport METHOD_BYTES_MAX
from ext.patterns cimport Sample
from ext.rulecodes cimport TRACKED_MAX, VARIABLES_MAX
from ext.site cimport Site
from ext.sticktable cimport TableHandle
from ext.values cimport Expr, Look

cdef enum:
    SCRATCH_BYTES = 131072         # of composed values: twice the largest head
    TXN_TEXT_BYTES = 12288         # of variables, per request: what a block has room for

cdef struct Txn:                   # what rules keep about one request; in Client.txn
    uint64_t set_variables         # a bit each
    Sample variables[VARIABLES_MAX]
    TableHandle tracked[TRACKED_MAX]
    int tables[TRACKED_MAX]        # in scene.tables
    bint has_source
    uint8_t source[16]             # set-src
    uint32_t used
    char text[TXN_TEXT_BYTES]

cdef struct Convert:
    int code                       # Converter
    Text text, other
    int64_t a, b
    int regex

cdef class Scene:
    cdef Site site
    cdef list backends             # of Tier
    cdef list names                # of bytes, theirs
    cdef list tables               # of StickTable
    cdef char *scratch
    cdef uint32_t used
    cdef char method[METHOD_BYTES_MAX]     # as the request came: set-method does not change it
    cdef uint32_t method_size
    cdef bint failed               # an edit could not be carried out

    cdef Txn *txn(self, Client s) except NULL
    cdef int begin(self, const Head *head) noexcept
    cdef int end(self, Client s) noexcept
    cdef int settle(self, Client s, Look *look) except -1
    cdef char *room(self, uint32_t size) noexcept

cdef class Expressions:
    cdef Expr *exprs
    cdef Convert *converts
    cdef list held
    cdef list regexes
    cdef int count

    cdef Text text(self, bytes given)
    cdef Convert converter(self, made)
    cdef bint next_value(self, Scene scene, Client s, Look *look, int index,
                         Sample *out) except -1
    cdef bint value(self, Scene scene, Client s, Look *look, int index, Sample *out) except -1
    cdef bint convert(self, Scene scene, const Expr *e, Sample *out) noexcept

cdef bint reads_head(int code) noexcept
cdef bint substitute(Scene scene, object regex, const Text *text, const Text *replacement,
                     bint every, Text *out) noexcept
