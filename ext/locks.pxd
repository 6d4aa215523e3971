# Locks in shared memory that survive the death of who holds them.

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef enum Locked:
    LOCKED = 0
    OWNER_DIED = 1                 # taken; mend what it guards, then call lock_mended
    NOT_LOCKED = 2                 # lock_try: another one has it

cdef union Lock:                   # a cache line of its own
    pthread_mutex_t mutex
    char line[64]

cdef int lock_make(Lock *lock) noexcept nogil
cdef int lock_take(Lock *lock) noexcept nogil
cdef int lock_try(Lock *lock) noexcept nogil
cdef void lock_mended(Lock *lock) noexcept nogil
cdef void lock_drop(Lock *lock) noexcept nogil
