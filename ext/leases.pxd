# What a process holds in the store: in shared memory for those who clean up after it, and counted.
from libc.stdint cimport uint32_t
from ext.limits cimport LEASES_MAX

cdef enum:
    LEASE_SLOTS = 32768            # of the private table: at most half full, so probes are short

cdef struct LeaseRow:              # shared: a bag of handles, 0 where there is none
    uint32_t used                  # how many; for statistics
    uint32_t reserved[15]
    uint32_t handles[LEASES_MAX]

cdef struct Lease:                 # private
    uint32_t handle                # 0: free
    uint32_t count                 # how often this process holds it
    uint32_t slot                  # in the row

cdef struct Leases:
    LeaseRow *row                  # NULL: this process may not lease
    Lease *table
    uint32_t *spare                # slots of the row that were used and are free again
    uint32_t spares
    uint32_t fresh                 # slots from here on were never used

cdef int leases_make(Leases *l, LeaseRow *row) noexcept nogil
cdef void leases_free(Leases *l) noexcept nogil
cdef bint leases_have_room(const Leases *l, uint32_t count) noexcept nogil
cdef Lease *lease_of(const Leases *l, uint32_t handle) noexcept nogil
cdef bint lease_note(Leases *l, uint32_t handle) noexcept nogil
cdef void lease_forget(Leases *l, uint32_t handle) noexcept nogil
