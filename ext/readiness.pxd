# Which connections have something to read: one private epoll set per worker.
from ext.timers cimport Timed

cdef class Watched(Timed):                # a socket in the set
    cdef int fd                    # -1 = none
    cdef bint watched
    cdef int on_readable(self, char *p, ssize_t n) except -1
    cdef int on_failed(self) except -1

cdef class Readiness:
    cdef readonly int fd           # of the set: readable when a member is
    cdef char *buffer              # READ_BYTES: what was read, until on_readable returns
    cdef void **members            # Watched by descriptor; borrowed, NULL = none
    cdef int room                  # of members
    cdef readonly object loop

    cdef int watch(self, Watched one) except -1
    cdef void forget(self, Watched one) noexcept
    cdef int read(self, Watched one) except -1
