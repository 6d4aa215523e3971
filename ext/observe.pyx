"""Passive health: HAProxy's `observe`, `error-limit`, and the worker's half of `on-error`.

Theory. Every connect and every answer of a server is a good sign, an error, or nothing to the layer
that is observed. Errors in a row are counted in the arena, over all workers; a good sign wipes them
(one load while there is none). At the limit the count starts anew and `error_events` grows: control
sees that and acts as `on_error` says; a DOWN mark is made here, since every further request counts.
What happens on a kept connection that its server was just closing is no sign of anything.

Source: HAProxy 2.6, configuration manual 5.2 (`observe`, `error-limit`, `on-error`).
"""
from ext.arena cimport ServerSlot, edge_add32, edge_load32, edge_store32


cdef int observed_status(int status) noexcept nogil:
    """What an answer's status says about its server."""
    if 100 <= status < 500 or status == 501 or status == 505:
        return Observed.HTTP_OK
    return Observed.HTTP_WRONG_STATUS


cdef int verdict_of(int layer, int what) noexcept nogil:
    """1 an error, -1 a good sign, 0 nothing."""
    if what == Observed.L4_ERROR:
        return 1 if layer else 0
    if what == Observed.L4_OK:
        return -1 if layer == Layer.LAYER_4 else 0
    if layer != Layer.LAYER_7:
        return 0
    return -1 if what == Observed.HTTP_OK else 1


cdef void observe(Arena arena, int slot, const Observing *rule, int what) noexcept:
    """Count what has happened at a server."""
    cdef ServerSlot *s = &arena.servers[slot]
    cdef int verdict = verdict_of(rule.layer, what)
    cdef uint32_t errors
    if verdict < 0 and edge_load32(&s.errors):
        edge_store32(&s.errors, 0)
    if verdict <= 0 or rule.limit == 0:
        return
    errors = edge_add32(&s.errors, 1)
    if errors < rule.limit:
        return
    edge_store32(&s.errors, 0)
    s.errors_counted = errors
    s.last_error = what
    edge_add32(&s.error_events, 1)
    edge_add32(&arena.head.complaints, 1)
    if rule.marks_down:
        arena.mark_down(slot)


def verdict_for_test(int layer, int what):
    return verdict_of(layer, what)


def observed_status_for_test(int status):
    return observed_status(status)


def observe_for_test(Arena arena, int slot, int layer, uint32_t limit, bint marks_down, int what):
    cdef Observing rule = Observing(layer, marks_down, limit)
    observe(arena, slot, &rule, what)
