# Free memory, counted in units: runs of any length are taken and given back.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    UNIT_BYTES = 128               # two cache lines: rounding up costs an object 64 on average
    ORDERS = 14                    # blocks of 1, 2, 4 .. 8192 units
    RUN_UNITS_MAX = 8192           # 1 MiB: the largest run that is looked for
    NO_RUN = 0xFFFFFFFF

cdef struct Bits:                  # a set of numbers; a word of `groups` says which words have any
    uint64_t *words
    uint64_t *groups
    uint64_t *tops
    uint32_t top_count

cdef struct Extents:               # this process's view; the bits and the count are shared
    Bits free[ORDERS]              # numbers of the free blocks of each size
    uint32_t units
    uint32_t *free_units

cdef uint64_t extents_bytes(uint32_t units) noexcept nogil
cdef void extents_place(Extents *e, char *memory, uint32_t units,
                        uint32_t *free_units) noexcept nogil
cdef void extents_make(Extents *e) noexcept nogil
cdef void extents_reset(Extents *e) noexcept nogil
cdef uint32_t take_run(Extents *e, uint32_t want, uint32_t least, uint32_t *got) noexcept nogil
cdef uint32_t take_run_at(Extents *e, uint32_t start, uint32_t want,
                          uint32_t least) noexcept nogil
cdef void give_run(Extents *e, uint32_t start, uint32_t count) noexcept nogil
cdef bint is_free(Extents *e, uint32_t unit) noexcept nogil
