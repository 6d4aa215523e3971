# What the steps do with answers that are, or will be, stored. Each answers the next row.
from ext.cached cimport Cached

cdef int store_answer(Cached s) except -1
cdef int validated(Cached s) except -1
cdef int serve_stale(Cached s) except -1
cdef int fetch_again(Cached s) except -1
cdef int deliver_stored(Cached s) except -1
cdef int invalidate(Cached s) except -1
cdef bint may_serve_prior(Cached s, int status) noexcept
cdef void give_up_fill(Cached s, int state, int failure) noexcept
