# Samples of requests, and the patterns that they are compared with.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from ext.fields cimport Text

cdef extern from "regex.h" nogil:
    ctypedef struct regex_t:
        size_t re_nsub
    ctypedef struct regmatch_t:
        int rm_so
        int rm_eo
    int regcomp(regex_t *regex, const char *pattern, int flags)
    int regexec(const regex_t *regex, const char *text, size_t count, regmatch_t *found,
                int flags)
    size_t regerror(int code, const regex_t *regex, char *text, size_t size)
    void regfree(regex_t *regex)
    enum:
        REG_EXTENDED
        REG_ICASE
        REG_STARTEND

cdef enum:
    GROUPS_MAX = 10                # \0 to \9
    DIGITS_BYTES = 64              # room for a number or an address as text

cdef struct Sample:
    int type                       # SampleType
    int64_t number
    Text text                      # borrowed
    uint8_t address[16]            # IPv4 as mapped (::ffff:a.b.c.d)

cdef struct Range:
    int64_t low, high

cdef struct Network:
    uint8_t address[16]
    int bits

cdef class Regex:
    cdef regex_t compiled
    cdef bint usable
    cdef bint find(self, const Text *text, uint32_t at, regmatch_t *found) noexcept

cdef class Patterns:               # of one test
    cdef int match                 # Match
    cdef bint ignores_case
    cdef list held
    cdef Text *texts               # lower case where case is ignored
    cdef Range *ranges
    cdef Network *networks         # sorted by prefix, then address
    cdef int count
    cdef uint32_t *table           # of texts for M_STR: index + 1 by hash; NULL: few
    cdef uint32_t table_mask
    cdef uint64_t hash_key[2]
    cdef bint accepts(self, const Sample *sample) noexcept
    cdef bint accepts_text(self, const Text *text) noexcept
    cdef bint accepts_number(self, int64_t number) noexcept
    cdef bint accepts_address(self, const uint8_t *address) noexcept

cdef Text as_text(const Sample *sample, char *room) noexcept
cdef bint as_number(const Sample *sample, int64_t *number) noexcept
cdef bint as_address(const Sample *sample, uint8_t *address) noexcept
cdef bint read_number(const Text *text, int64_t *number, bint whole) noexcept
