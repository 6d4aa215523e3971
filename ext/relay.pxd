# A client connection whose request goes to a server.
from libc.stdint cimport uint32_t
from posix.uio cimport iovec

from ext.client cimport Client
from ext.upstream cimport NodeConnection, Tier

cdef class Relay(Client):
    # to the server
    cdef void hold(self, iovec *parts, int count) noexcept
    cdef int bad_body(self, int reason, bint unsent) except -1
    cdef int send_header(self, NodeConnection node) except -1

    # from the server
    cdef uint32_t read_answer_head(self, char *p, uint32_t n) except? 0xFFFFFFFF
    cdef int send_interim(self) except -1
    cdef int relay(self, uint32_t head_size) except -1
    cdef int send_last_chunk(self, iovec *parts, int count) except -1

    # failures
    cdef int fail_attempt(self, int failure, Tier tier) except -1
    cdef Tier impatient(self)
    cdef bint ends_here(self, int failure, Tier tier) noexcept
    cdef bint heed_status(self, int status) except -1
    cdef int give_up_connect(self) except -1
    cdef int tier_row(self, Tier tier) noexcept
    cdef Tier queue_tier(self)
