# Locks in shared memory that survive the death of who holds them.
from libc.stdint cimport uint32_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef enum Locked:
    LOCKED = 0
    OWNER_DIED = 1                 # taken; mend what it guards, then call lock_mended
    NOT_LOCKED = 2                 # lock_try: another one has it

cdef struct Lock:                  # a cache line of its own
    pthread_mutex_t mutex
    uint32_t waiters               # atomic: who waits for it, for lock_yield; a hint
    uint32_t reserved[5]

cdef int lock_make(Lock *lock) noexcept nogil
cdef int lock_take(Lock *lock) noexcept nogil
cdef int lock_try(Lock *lock) noexcept nogil
cdef void lock_mended(Lock *lock) noexcept nogil
cdef void lock_drop(Lock *lock) noexcept nogil
cdef bint lock_yield(Lock *lock) noexcept nogil
cdef void lock_forget_waiters(Lock *lock) noexcept nogil
