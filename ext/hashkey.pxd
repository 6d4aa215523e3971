# The key of a request that picks its server: HAProxy's source, uri, hdr and url_param.
from libc.stdint cimport uint32_t, uint64_t
from ext.http1 cimport Head

cdef enum KeyKind:
    KEY_SOURCE, KEY_URI, KEY_HEADER, KEY_URL_PARAM

cdef class HashKey:
    cdef int kind                  # KeyKind
    cdef int function              # HashFunction
    cdef bint mixes                # the hash goes through `avalanche`
    cdef bint whole                # uri: with the query
    cdef bint path_only            # uri: without scheme and host
    cdef bint domain_only          # hdr: of a host name its domain without the last label
    cdef uint32_t length           # uri: at most so many bytes; 0 = all
    cdef uint32_t depth            # uri: up to so many directories; 0 = all
    cdef bytes name                # of the field or the parameter
    cdef const char *name_start
    cdef uint32_t name_size

    cdef uint64_t of_request(self, const Head *h, uint32_t source) noexcept
    cdef uint64_t finish(self, const char *p, uint32_t n) noexcept
    cdef uint64_t of_uri(self, const Head *h) noexcept
    cdef uint64_t of_header(self, const Head *h) noexcept
    cdef uint64_t of_domain(self, const char *p, uint32_t n) noexcept
    cdef uint64_t of_url_param(self, const Head *h) noexcept

cdef uint32_t source_number(const char *text, uint32_t n) noexcept nogil
