# Values of a head by name, one at a time.
from libc.stdint cimport int64_t, uint32_t
from ext.fields cimport Text
from ext.http1 cimport Head

cdef struct Look:                  # at a message, and how far an expression has read it
    Head *head
    bint is_answer
    uint32_t field, at             # where the next value begins
    bint more

cdef struct Expr:
    int fetch                      # Fetch
    int id                         # HeaderId of `name`
    Text name
    int64_t number
    int first, count               # converters

cdef Text stripped(const char *p, uint32_t size) noexcept
cdef bint next_line(Look *look, const Expr *e, Text *out) noexcept
cdef bint next_item(Look *look, const Expr *e, Text *out) noexcept
cdef bint next_cookie(Look *look, const Expr *e, Text *out) noexcept
cdef bint next_set_cookie(Look *look, const Expr *e, Text *out) noexcept
cdef bint next_parameter(Look *look, const Expr *e, Text *out) noexcept
cdef Text path_of(const Head *head) noexcept
cdef bint query_of(const Head *head, Text *out) noexcept
