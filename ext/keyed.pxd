# Servers by the hash of a key: HAProxy's map and its ring.
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from ext.farm cimport Balancer

cdef class Mapped(Balancer):
    cdef int *map                  # a server per unit of weight
    cdef uint32_t total            # its size now
    cdef uint32_t room
    cdef uint32_t divisor          # of the file's weights
    cdef uint32_t turn             # where the next request without a key goes

    cdef uint32_t parts(self, int index) noexcept
    cdef bint reserve(self, uint32_t total) noexcept
    cdef int from_place(self, uint32_t at, const uint16_t *tried, int tried_count) noexcept
    cdef int in_turn(self, const uint16_t *tried, int tried_count) noexcept

cdef class ConsistentHash(Balancer):
    cdef uint64_t *points          # sorted; a point is its place << 32 | server
    cdef uint32_t size
    cdef uint32_t *effective       # of each server: as many points as it has on the ring
    cdef uint32_t *seeds           # of each server
    cdef uint32_t *before          # effective weight of the usable servers before this one
    cdef uint32_t total            # effective weight of all usable ones
    cdef uint32_t last             # where the last request without a key went
    cdef uint32_t balance_percent

    cdef uint32_t wanted(self, int index) noexcept
    cdef uint32_t kept(self, int index) noexcept
    cdef void renew(self, uint32_t size, uint32_t fresh) noexcept
    cdef uint32_t nearest(self, uint32_t hash) noexcept
    cdef bint within_bound(self, int index) noexcept
