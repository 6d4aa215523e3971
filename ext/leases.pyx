"""Leases of one process: a bag in shared memory, and a private table that counts.

Theory. An object that is leased is neither freed nor used for something else. It has a bit per
process; the process's row in shared memory lists the objects whose bit it has, so that others can
clear the bits of a process that was killed. The order makes that right at any instruction: the
handle is in the row before the bit is set, and leaves it after the bit is cleared. Slots of the
row never move, so it can be read while its owner works. How often a process holds an object is
known to it alone: only the first lease and the last one touch shared memory.

Called by: store. The bits are the store's; here is only the book-keeping.
"""
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from ext.atomics cimport edge_store32


cdef int leases_make(Leases *l, LeaseRow *row) noexcept nogil:
    """0, or -1 when there is no memory. The row holds nothing any more."""
    memset(l, 0, sizeof(Leases))
    l.row = row
    if row == NULL:
        return 0
    l.table = <Lease *>calloc(LEASE_SLOTS, sizeof(Lease))
    l.spare = <uint32_t *>malloc(LEASES_MAX * sizeof(uint32_t))
    if l.table == NULL or l.spare == NULL:
        leases_free(l)
        return -1
    return 0


cdef void leases_free(Leases *l) noexcept nogil:
    free(l.table)
    free(l.spare)
    memset(l, 0, sizeof(Leases))


cdef bint leases_have_room(const Leases *l, uint32_t count) noexcept nogil:
    """For so many objects more?"""
    return l.row != NULL and l.spares + (<uint32_t>LEASES_MAX - l.fresh) >= count


cdef inline uint32_t place_of(uint32_t handle) noexcept nogil:
    return (handle * <uint32_t>2654435761) >> 17     # 15 bits: LEASE_SLOTS


cdef Lease *lease_of(const Leases *l, uint32_t handle) noexcept nogil:
    """The lease on an object, or NULL."""
    cdef uint32_t at = place_of(handle)
    while l.table[at].handle:
        if l.table[at].handle == handle:
            return &l.table[at]
        at = (at + 1) & (LEASE_SLOTS - 1)
    return NULL


cdef bint lease_note(Leases *l, uint32_t handle) noexcept nogil:
    """One more lease; there is room. True: the first one; set the object's bit now."""
    cdef Lease *lease = lease_of(l, handle)
    cdef uint32_t at
    if lease != NULL:
        lease.count += 1
        return False
    at = place_of(handle)
    while l.table[at].handle:
        at = (at + 1) & (LEASE_SLOTS - 1)
    lease = &l.table[at]
    lease.handle = handle
    lease.count = 1
    if l.spares:
        l.spares -= 1
        lease.slot = l.spare[l.spares]
    else:
        lease.slot = l.fresh
        l.fresh += 1
    l.row.used += 1
    edge_store32(&l.row.handles[lease.slot], handle)
    return True


cdef void lease_forget(Leases *l, uint32_t handle) noexcept nogil:
    """The last lease is gone, and the object's bit with it."""
    cdef Lease *lease = lease_of(l, handle)
    cdef uint32_t hole, at, home
    if lease == NULL:
        return
    l.row.used -= 1
    edge_store32(&l.row.handles[lease.slot], 0)
    l.spare[l.spares] = lease.slot
    l.spares += 1
    # Those behind it move up where that brings them nearer to their place (Knuth 6.4, R).
    hole = at = <uint32_t>(lease - l.table)
    while True:
        at = (at + 1) & (LEASE_SLOTS - 1)
        if l.table[at].handle == 0:
            break
        home = place_of(l.table[at].handle)
        if ((at - home) & (LEASE_SLOTS - 1)) >= ((at - hole) & (LEASE_SLOTS - 1)):
            l.table[hole] = l.table[at]
            hole = at
    l.table[hole].handle = 0


# -- facade for tests ------------------------------------------------------------------------------

cdef class LeasesForTest:
    """The leases of one process on objects that are only numbers."""

    cdef Leases leases
    cdef LeaseRow *row

    def __cinit__(self):
        self.row = <LeaseRow *>calloc(1, sizeof(LeaseRow))
        if self.row == NULL or leases_make(&self.leases, self.row):
            raise MemoryError

    def __dealloc__(self):
        leases_free(&self.leases)
        free(self.row)

    def note(self, uint32_t handle):
        lease_note(&self.leases, handle)

    def forget(self, uint32_t handle):
        lease_forget(&self.leases, handle)

    def count(self, uint32_t handle):
        cdef Lease *lease = lease_of(&self.leases, handle)
        return lease.count if lease != NULL else 0

    def has_room(self, uint32_t count):
        return bool(leases_have_room(&self.leases, count))

    def shared(self):
        """The handles in the row, as another process sees them."""
        return sorted(handle for handle in self.row.handles[:LEASES_MAX] if handle)

    def used(self):
        return self.row.used
