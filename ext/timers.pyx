"""The timer wheel: a deadline costs one store per request, not a call_later.

Theory. A timer has the time it is due and the time at which the wheel will visit it. Pushing a
deadline back only stores the new `due_ms`; when the visit comes too early, the timer is put into
a later slot. Pulling a deadline forward relinks it. So an exchange that sets and clears three
deadlines costs a few stores. Disarming (`due_ms = 0`) leaves the timer linked until its visit.

The wheel is advanced by the worker's one `call_later`, every TICK_MS. Deadlines are late by at
most one tick, never early.
"""
from posix.time cimport clock_gettime, timespec, CLOCK_MONOTONIC, CLOCK_REALTIME

from ext.limits cimport TICK_MS

cdef extern from "<time.h>" nogil:
    int CLOCK_MONOTONIC_COARSE


cdef uint64_t now_ms() noexcept nogil:
    """Monotonic milliseconds from the kernel's tick (about 4 ms fine, 5 ns cheap)."""
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t)
    return <uint64_t>t.tv_sec * 1000 + <uint64_t>t.tv_nsec // 1000000


cdef uint64_t now_us() noexcept nogil:
    """Monotonic microseconds, exact; for latencies."""
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000 + <uint64_t>t.tv_nsec // 1000


cdef uint64_t wall_us() noexcept nogil:
    """Microseconds since the epoch; for what is dated: freshness, X-Timer."""
    cdef timespec t
    clock_gettime(CLOCK_REALTIME, &t)
    return <uint64_t>t.tv_sec * 1000000 + <uint64_t>t.tv_nsec // 1000


cdef class Timed:
    """Something with one deadline. The owner removes the timer from the wheel before it dies."""

    def __cinit__(self, *args):
        self.timer.owner = <void *>self

    cdef int on_timer(self) except -1:
        return 0


cdef class Wheel:
    """WHEEL_SLOTS circular lists, TICK_MS each."""

    def __cinit__(self):
        cdef int i
        for i in range(WHEEL_SLOTS):
            self.slots[i].next = &self.slots[i]
            self.slots[i].prev = &self.slots[i]
        self.tick = now_ms() // TICK_MS + 1

    cdef void arm(self, Timer *timer, uint64_t due_ms) noexcept:
        """Set or move a deadline."""
        cdef uint64_t tick
        timer.due_ms = due_ms
        if timer.next != NULL:
            if timer.visit_ms <= due_ms:
                return                         # visited before it is due; moved on then
            self.remove(timer)
        tick = due_ms // TICK_MS + 1
        if tick < self.tick:
            tick = self.tick
        elif tick >= self.tick + WHEEL_SLOTS:
            tick = self.tick + WHEEL_SLOTS - 1
        self.link(timer, tick)

    cdef void link(self, Timer *timer, uint64_t tick) noexcept:
        cdef Timer *head = &self.slots[tick % WHEEL_SLOTS]
        timer.visit_ms = tick * TICK_MS
        timer.next = head
        timer.prev = head.prev
        head.prev.next = timer
        head.prev = timer
        self.armed += 1

    cdef void remove(self, Timer *timer) noexcept:
        """Unlink; safe when it is not linked."""
        if timer.next != NULL:
            timer.prev.next = timer.next
            timer.next.prev = timer.prev
            timer.next = NULL
            timer.prev = NULL
            self.armed -= 1

    cdef int advance(self, uint64_t now_ms) except -1:
        """Visit every slot up to `now_ms`; calls on_timer of what is due."""
        cdef Timer *head
        cdef Timer todo
        cdef bint whole
        while self.tick * TICK_MS <= now_ms:
            head = &self.slots[self.tick % WHEEL_SLOTS]
            self.tick += 1
            if head.next == head:
                continue
            # Take the whole list first: on_timer may arm and remove timers, this one included.
            todo.next = head.next
            todo.prev = head.prev
            todo.next.prev = &todo
            todo.prev.next = &todo
            head.next = head
            head.prev = head
            whole = False
            try:
                self.visit(&todo, now_ms)
                whole = True
            finally:
                if not whole:
                    self.put_back(&todo)
        return 0

    cdef int visit(self, Timer *todo, uint64_t now_ms) except -1:
        """Fire, move on, or forget each timer of a list."""
        cdef Timer *timer
        cdef Timed one
        cdef uint64_t due
        while todo.next != todo:
            timer = todo.next
            self.remove(timer)
            due = timer.due_ms
            if due == 0:
                continue
            if due > now_ms:
                self.arm(timer, due)
            else:
                timer.due_ms = 0
                one = <Timed>timer.owner       # held: what it does may be its end
                one.on_timer()
        return 0

    cdef void put_back(self, Timer *todo) noexcept:
        """An on_timer has failed: the rest of its list, whose head is on the stack, is visited at
        the next tick."""
        cdef Timer *head = &self.slots[self.tick % WHEEL_SLOTS]
        if todo.next == todo:
            return
        todo.next.prev = head.prev
        head.prev.next = todo.next
        todo.prev.next = head
        head.prev = todo.prev


# -- facade for tests ----------------------------------------------------------------------------

cdef class Alarm(Timed):
    cdef object key
    cdef list fired

    cdef int on_timer(self) except -1:
        if isinstance(self.key, Exception):
            raise self.key
        self.fired.append(self.key)
        return 0


cdef class WheelForTest:
    """A wheel whose clock is the caller's: arm(key, due_ms), cancel(key), advance(now_ms). A key
    that is an exception is raised when it is due."""

    cdef Wheel wheel
    cdef dict alarms
    cdef list fired

    def __init__(self, uint64_t now_ms):
        self.wheel = Wheel()
        self.wheel.tick = now_ms // TICK_MS + 1
        self.alarms = {}
        self.fired = []

    @property
    def armed(self):
        """Timers in the wheel, disarmed ones that were not visited yet included."""
        return self.wheel.armed

    def arm(self, key, uint64_t due_ms):
        cdef Alarm alarm = self.alarms.get(key)
        if alarm is None:
            alarm = Alarm()
            alarm.key = key
            alarm.fired = self.fired
            self.alarms[key] = alarm
        self.wheel.arm(&alarm.timer, due_ms)

    def cancel(self, key):
        cdef Alarm alarm = self.alarms[key]
        alarm.timer.due_ms = 0

    def advance(self, uint64_t now_ms):
        """The keys that fired, in order."""
        self.fired.clear()
        self.wheel.advance(now_ms)
        return list(self.fired)
