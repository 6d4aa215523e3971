# Cleaning up: after purges, and after processes that have died.
from libc.stdint cimport uint64_t
from ext.region cimport Region

cdef bint sweep_some(Region *r, uint64_t budget_us) noexcept nogil
cdef void sweep_for_room(Region *r) noexcept nogil
cdef void sweep_row(Region *r, int row) noexcept nogil
