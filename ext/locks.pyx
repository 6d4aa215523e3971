"""Robust process-shared mutexes.

Theory. The kernel knows which robust mutexes a thread holds. When it dies, whoever takes one next
is told so (EOWNERDEAD) and mends what the lock guards; dying at that leaves the same word for the
one after. What the locks of the store guard takes less than a microsecond, a sleep and a wake-up
ten, so a taker first looks again for about as long as a holder takes.

Two things that these mutexes do not do. A wake-up is lost when a process dies between letting go
and waking, and another one has taken the lock meanwhile; so nobody sleeps for long without looking.
And they are not fair: who takes one again at once, as the sweep does, keeps sleepers out; so it
lets those through who wait.

Called by: shard, purgelog, sweep, region.
"""
from libc.errno cimport EBUSY, ETIMEDOUT
from libc.stdint cimport uint64_t
from libc.stdlib cimport abort
from libc.string cimport memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, nanosleep, timespec

from ext.atomics cimport edge_add32, edge_load32, edge_store32, edge_swap32
from ext.timers cimport now_us

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
    int pthread_mutex_timedlock(pthread_mutex_t *mutex, const timespec *until)
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
    LOOKS_MAX = 128                # before it sleeps: 5 us, what a holder takes at most
    SLEEP_NS_MAX = 20000000        # without looking: 20 ms, since wake-ups can be lost
    YIELD_LOOKS_MAX = 256          # before the sweep sleeps: 10 us, for who is awake
    YIELD_NS = 50000               # then it leaves the core, which the other one may need
    YIELD_US_MAX = 500             # and goes on after that: who waits may have died


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
    cdef int error = pthread_mutex_trylock(&lock.mutex)
    return outcome(error) if error != EBUSY else wait_for(lock)


cdef int wait_for(Lock *lock) noexcept nogil:
    """Somebody else has it: look again and again, then sleep."""
    cdef timespec until
    cdef uint32_t waiters
    cdef int i = 0, error = EBUSY
    edge_add32(&lock.waiters, 1)
    while error == EBUSY and i < LOOKS_MAX:
        edge_pause()
        error = pthread_mutex_trylock(&lock.mutex)
        i += 1
    while error == EBUSY or error == ETIMEDOUT:
        clock_gettime(CLOCK_REALTIME, &until)
        until.tv_nsec += SLEEP_NS_MAX
        if until.tv_nsec >= 1000000000:
            until.tv_nsec -= 1000000000
            until.tv_sec += 1
        error = pthread_mutex_timedlock(&lock.mutex, &until)
    waiters = edge_load32(&lock.waiters)
    while waiters and not edge_swap32(&lock.waiters, waiters, waiters - 1):
        waiters = edge_load32(&lock.waiters)
    return outcome(error)


cdef int lock_try(Lock *lock) noexcept nogil:
    """LOCKED, OWNER_DIED or NOT_LOCKED."""
    cdef int error = pthread_mutex_trylock(&lock.mutex)
    return NOT_LOCKED if error == EBUSY else outcome(error)


cdef void lock_mended(Lock *lock) noexcept nogil:
    """After OWNER_DIED: what it guards is right again."""
    pthread_mutex_consistent(&lock.mutex)


cdef void lock_drop(Lock *lock) noexcept nogil:
    pthread_mutex_unlock(&lock.mutex)


cdef bint lock_yield(Lock *lock) noexcept nogil:
    """Between letting go and taking again: let those through who wait for it. False: they have not
    come, so better let it be for a while."""
    cdef timespec pause = timespec(0, YIELD_NS)
    cdef uint64_t until_us = 0
    cdef int i = 0
    while edge_load32(&lock.waiters):
        if i < YIELD_LOOKS_MAX:
            edge_pause()
            i += 1
            continue
        if until_us == 0:
            until_us = now_us() + YIELD_US_MAX
        elif now_us() >= until_us:
            return False
        nanosleep(&pause, NULL)
    return True


cdef void lock_forget_waiters(Lock *lock) noexcept nogil:
    """One of them may have died. Who waits still is not counted for this once."""
    edge_store32(&lock.waiters, 0)
