# HTTP/1 message heads as C data. All positions are offsets from the first byte
# of the head, so a head may move (be copied) after parsing. Nothing here touches Python.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, int64_t
from ext.limits cimport FIELDS_MAX

cdef enum Parsed:
    NEED_MORE = 0                  # else: > 0 bytes consumed, < 0 minus a Refused reason

cdef enum Method:                  # those that the data path treats specially
    M_OTHER, M_GET, M_HEAD, M_POST, M_PUT, M_DELETE, M_OPTIONS, M_TRACE, M_CONNECT, M_PATCH

cdef enum Body:
    BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE

cdef enum HeadFlag:
    H_CLOSE = 1                    # Connection: close
    H_KEEP_ALIVE = 2               # Connection: keep-alive
    H_UPGRADE = 4                  # Connection: upgrade together with an Upgrade field
    H_EXPECT_CONTINUE = 8
    H_CHUNKED = 16
    H_ABSOLUTE = 32                # absolute-form: host is from the target
    H_TE_TRAILERS = 64
    H_COOKIE_OVERFLOW = 128        # Cookie was taken out as too long (ext/platform.pyx)

cdef struct Field:
    uint32_t name
    uint32_t value
    uint32_t value_size
    uint16_t name_size
    uint8_t id                     # HeaderId
    uint8_t flags                  # FieldFlag; HOP_BY_HOP also when named by Connection

cdef struct Head:
    const char *base               # borrowed: valid until the caller's buffer changes
    uint32_t size
    uint32_t flags                 # HeadFlag
    int64_t content_length         # -1: none
    uint32_t method_size           # the method starts at offset `start`
    uint32_t start                 # 0, or 2 after a tolerated empty line
    uint32_t target, target_size   # as received
    uint32_t path, path_size       # origin-form; size 0 with H_ABSOLUTE means "/"
    uint32_t host, host_size       # from the absolute form or the Host field
    uint32_t reason, reason_size
    uint16_t method                # Method
    uint16_t status
    uint8_t minor
    uint8_t body                   # Body
    uint16_t count
    uint16_t upgrade               # index + 1 of the Upgrade field, 0 none
    Field fields[FIELDS_MAX]

cdef struct HeadLimits:
    uint32_t request_line_bytes
    uint32_t header_bytes
    uint32_t header_count

cdef int parse_request_head(const char *p, uint32_t size, const HeadLimits *limits,
                            Head *head) noexcept nogil
cdef int parse_response_head(const char *p, uint32_t size, const HeadLimits *limits,
                             int request_method, Head *head) noexcept nogil
cdef int parse_trailers(const char *p, uint32_t size, uint32_t bytes_max,
                        Head *head) noexcept nogil
cdef int method_number(const char *p, uint32_t size) noexcept nogil
cdef int check_host(const char *p, uint32_t size) noexcept nogil
cdef bint is_token(const char *p, uint32_t size) noexcept nogil
cdef bint is_value(const char *p, uint32_t size) noexcept nogil
cdef bint is_target(const char *p, uint32_t size) noexcept nogil
