# What the fields of an answer say to a cache, read once.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from ext.cachecontrol cimport Directives
from ext.conditions cimport Validators
from ext.http1 cimport Field, Head

cdef enum FactFlag:
    F_EXPIRES = 1                  # the field is there
    F_EXPIRES_DATE = 2             # and is a date
    F_SET_COOKIE = 4
    F_CDN = 8                      # a valid CDN-Cache-Control

cdef struct Facts:
    uint32_t flags                 # FactFlag
    uint32_t age_s                 # 0 without a valid Age
    int64_t expires_s
    int vary                       # number of names, or a VaryResult
    Validators validators
    Directives cache_control
    Directives surrogate
    Directives cdn

cdef enum VaryResult:              # else the number of names
    VARY_ANY = -1                  # `*`, or something that is no list of names
    VARY_TOO_MANY = -2             # more than VARY_NAMES_MAX

cdef struct VaryName:
    uint32_t name                  # offset in the answer's head
    uint16_t size
    uint8_t id                     # HeaderId

cdef void read_facts(const Head *response, int64_t now_s, Facts *facts) noexcept nogil
cdef void read_refreshed(const Head *stored, const Head *fresh, int64_t now_s,
                         Facts *facts) noexcept nogil
cdef void read_request(const Head *request, Directives *d) noexcept nogil
cdef int vary_names(const Head *response, VaryName *names) noexcept nogil
cdef const Field *field_of(const Head *head, int id) noexcept nogil
