# What workers learn of a server from its traffic: consecutive errors, told to control.
from libc.stdint cimport uint32_t
from ext.arena cimport Arena

cpdef enum Observed:               # HAProxy's, with its texts in edge/health/observed.py
    L4_OK = 0
    L4_ERROR = 1
    HTTP_OK = 2
    HTTP_WRONG_STATUS = 3
    HTTP_BAD_HEAD = 4
    HTTP_BAD_BODY = 5
    HTTP_READ_TIMEOUT = 6
    HTTP_CLOSED = 7

cpdef enum Layer:
    LAYER_NONE = 0
    LAYER_4 = 4
    LAYER_7 = 7

cdef struct Observing:             # a tier's settings
    int layer                      # Layer
    bint marks_down                # at the limit: by the worker, at once
    uint32_t limit                 # consecutive errors; 0 = never

cdef int observed_status(int status) noexcept nogil
cdef int verdict_of(int layer, int what) noexcept nogil
cdef void observe(Arena arena, int slot, const Observing *rule, int what) noexcept
