# An answer on its way into the cache.
from libc.stdint cimport uint32_t, uint64_t
from ext.site cimport Entry, Member, Site
from ext.squeeze cimport Squeezer
from ext.store cimport Handle, Store
from ext.trip cimport Trip

cdef class Fill(Trip):
    cdef Site site
    cdef Entry entry
    cdef Store store
    cdef Handle object             # leased; 0 when the fill is over
    cdef Member leader             # whose request it is; None when that one is served or gone
    cdef uint64_t stored_bytes
    cdef Squeezer squeezer         # None: the body is stored as it comes
    cdef bint is_squeezing         # a thread works on a piece
    cdef bint overflow             # the cache took no more: the leader is to go on by itself

    cdef int begin(self, Trip trip, Handle object, Member leader) except -1
    cdef uint32_t take(self, char *p, uint32_t n) except? 0xFFFFFFFF
    cdef int put(self, const char *p, uint32_t n) except -1
    cdef int squeeze(self, const char *p, uint32_t n, bint last) except -1
    cdef int after(self) except -1
    cdef int fail(self) except -1
    cdef int end(self) except -1
    cdef int go_on(self) except -1
