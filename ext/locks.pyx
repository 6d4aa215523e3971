"""Robust process-shared mutexes.

Theory. The kernel knows which robust mutexes a thread holds. When it dies, whoever takes one next
is told so (EOWNERDEAD) and mends what the lock guards; dying at that leaves the same word for the
one after. What the locks of the store guard takes less than a microsecond, a sleep and a wake-up
ten, so a taker first looks again for about as long as a holder takes.

Called by: shard, purgelog, region.
"""
from libc.errno cimport EBUSY
from libc.stdlib cimport abort
from libc.string cimport memset

cdef extern from "<errno.h>" nogil:
    enum:
        EOWNERDEAD

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutexattr_t:
        pass
    enum:
        PTHREAD_PROCESS_SHARED
        PTHREAD_MUTEX_ROBUST
    int pthread_mutexattr_init(pthread_mutexattr_t *attr)
    int pthread_mutexattr_destroy(pthread_mutexattr_t *attr)
    int pthread_mutexattr_setpshared(pthread_mutexattr_t *attr, int shared)
    int pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robust)
    int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_trylock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_mutex_consistent(pthread_mutex_t *mutex)

cdef extern from *:
    """
    #if defined(__x86_64__) || defined(__i386__)
    #define edge_pause() __builtin_ia32_pause()
    #else
    #define edge_pause() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    #endif
    """
    void edge_pause() noexcept nogil

cdef enum:
    LOOKS_MAX = 64                 # before it sleeps: 2 to 3 us, what a holder takes at most


cdef int lock_make(Lock *lock) noexcept nogil:
    """0, or an errno."""
    cdef pthread_mutexattr_t attr
    cdef int error
    memset(lock, 0, sizeof(Lock))
    error = pthread_mutexattr_init(&attr)
    if error:
        return error
    error = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED)
    if not error:
        error = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST)
    if not error:
        error = pthread_mutex_init(&lock.mutex, &attr)
    pthread_mutexattr_destroy(&attr)
    return error


cdef int outcome(int error) noexcept nogil:
    if error == EOWNERDEAD:
        return OWNER_DIED
    if error:
        abort()                            # not a mutex: nothing that it guards can be trusted
    return LOCKED


cdef int lock_take(Lock *lock) noexcept nogil:
    """LOCKED or OWNER_DIED."""
    cdef int _i, error
    for _i in range(LOOKS_MAX):
        error = pthread_mutex_trylock(&lock.mutex)
        if error != EBUSY:
            return outcome(error)
        edge_pause()
    return outcome(pthread_mutex_lock(&lock.mutex))


cdef int lock_try(Lock *lock) noexcept nogil:
    """LOCKED, OWNER_DIED or NOT_LOCKED."""
    cdef int error = pthread_mutex_trylock(&lock.mutex)
    return NOT_LOCKED if error == EBUSY else outcome(error)


cdef void lock_mended(Lock *lock) noexcept nogil:
    """After OWNER_DIED: what it guards is right again."""
    pthread_mutex_consistent(&lock.mutex)


cdef void lock_drop(Lock *lock) noexcept nogil:
    pthread_mutex_unlock(&lock.mutex)
