# Sizes, bounds and the enums that Python and C share. BASE layer: imports nothing.
# Every number has its unit in its name and its reason beside it; relations between them are
# asserted in tests/ext/test_limits.py.

cpdef enum Limit:
    READ_BYTES = 131072            # one read; also the most a stalled peer leaves with us
    BLOCK_BYTES = 16384            # a request head as sent upstream + a small body (for replay)
    HEAD_BYTES_MAX = 73728         # upper bound of the configurable head limit (Fastly: 69 KB)
    HEAD_GROWTH_BYTES = 2048       # what our own fields may add to a forwarded head
    FIELDS_MAX = 256               # upper bound of the configurable field count
    METHOD_BYTES_MAX = 32          # longest registered method is 17 bytes (UPDATEREDIRECTREF)
    CONNECTION_OPTIONS_MAX = 32    # options that name fields: each is compared with every field
    CHUNK_SIZE_DIGITS_MAX = 16     # 64-bit sizes; more digits are refused, never wrapped
    INTERIM_MAX = 16               # 1xx answers before one final answer of a node
    PIPELINE_BYTES_MAX = 65536     # unread pipelined bytes kept before reading pauses
    TRIED_MAX = 16                 # servers one request remembers as already tried
    LINGER_MS = 2000               # after a refusal: read and drop so that the answer is not reset
    TURN_AROUND_MS = 1000          # HAProxy's pause before the same server is tried again
    TICK_MS = 40                   # timer wheel resolution; timeouts are late by at most one tick
    TEXT_BYTES_MAX = 160           # names in the arena: haproxy@ + 63 + / + 63 and a NUL
    SERVERS_MAX = 4096             # server slots in the arena (1,000 servers x 3 tiers + reserve)
    ADDRESS_BYTES_MAX = 64         # a server's address as text (INET6_ADDRSTRLEN is 46)
    SESSIONS_SHOWN_MAX = 1024      # rows of `show sess` a worker tells: more is not read by eye
    MAXCONN_NONE = 0x7FFFFFFF      # a server's maxconn at run time: no limit (0 = as configured)
    TIERS_MAX = 128                # tier slots: cdn + elb + one haproxy per VM
    RANGES_MAX = 16                # ranges of one answer; a request for more gets the whole
    VARY_NAMES_MAX = 16            # an answer that varies on more is not stored
    RAMP_STEPS = 16                # of a slow start; HAProxy's BE_WEIGHT_SCALE
    ROWS_MAX = 128                 # counter rows: 32 workers x (running + draining generations)
    LEASES_MAX = 16384             # objects one process holds: as many as it has connections
    VARIANTS_MAX = 200             # answers of one URL that differ by Vary (Fastly's limit)
    SURROGATE_KEY_BYTES_MAX = 1024  # one key (Fastly's limit); it and what follows are ignored
    SURROGATE_KEYS_BYTES_MAX = 16384  # a Surrogate-Key header (Fastly's limit)


cpdef enum Refused:
    # Why a message was not accepted. The status is in REFUSED_STATUS (limits.pyx).
    ACCEPTED = 0
    BAD_METHOD = 1
    BAD_TARGET = 2
    BAD_VERSION = 3
    BAD_LINE_END = 4               # bare CR, bare LF
    BAD_FIELD_NAME = 5             # empty, not a token, space before the colon
    BAD_FIELD_VALUE = 6            # NUL or another control byte
    OBS_FOLD = 7
    BAD_CONTENT_LENGTH = 8         # not digits, too large, a list
    REPEATED_CONTENT_LENGTH = 9
    LENGTH_AND_TRANSFER_ENCODING = 10
    BAD_TRANSFER_ENCODING = 11     # unknown, repeated or non-final coding; or HTTP/1.0
    BAD_HOST = 12
    MISSING_HOST = 13
    REPEATED_HOST = 14
    BAD_CHUNK_SIZE = 15
    BAD_CHUNK_END = 16
    CHUNK_EXTENSION_TOO_LONG = 17
    BAD_TRAILER = 18
    REQUEST_LINE_TOO_LONG = 19
    HEAD_TOO_LONG = 20
    TOO_MANY_FIELDS = 21
    BODY_TOO_LONG = 22
    BAD_STATUS_LINE = 23
    BAD_CONNECTION = 24            # a Connection field that is not a list of tokens
    BODY_FORBIDDEN = 25            # a 1xx or 204 answer that announces a body
    BAD_UPGRADE = 26


cpdef enum ServerState:
    UP = 0
    DOWN = 1
    NOLB = 2                       # up, but for its regulars only: persistent traffic


cpdef enum AdminState:
    READY = 0
    DRAIN = 1
    MAINT = 2
