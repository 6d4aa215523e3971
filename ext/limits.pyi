from enum import IntEnum

class Limit(IntEnum):
    READ_BYTES = ...
    BLOCK_BYTES = ...
    HEAD_BYTES_MAX = ...
    HEAD_GROWTH_BYTES = ...
    FIELDS_MAX = ...
    METHOD_BYTES_MAX = ...
    CONNECTION_OPTIONS_MAX = ...
    CHUNK_SIZE_DIGITS_MAX = ...
    INTERIM_MAX = ...
    PIPELINE_BYTES_MAX = ...
    TRIED_MAX = ...
    LINGER_MS = ...
    TICK_MS = ...
    TEXT_BYTES_MAX = ...
    SERVERS_MAX = ...
    TIERS_MAX = ...
    ROWS_MAX = ...

class Refused(IntEnum):
    ACCEPTED = 0
    BAD_METHOD = 1
    BAD_TARGET = 2
    BAD_VERSION = 3
    BAD_LINE_END = 4
    BAD_FIELD_NAME = 5
    BAD_FIELD_VALUE = 6
    OBS_FOLD = 7
    BAD_CONTENT_LENGTH = 8
    REPEATED_CONTENT_LENGTH = 9
    LENGTH_AND_TRANSFER_ENCODING = 10
    BAD_TRANSFER_ENCODING = 11
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
    BAD_CONNECTION = 24
    BODY_FORBIDDEN = 25
    BAD_UPGRADE = 26

class ServerState(IntEnum):
    UP = 0
    DOWN = 1

class AdminState(IntEnum):
    READY = 0
    DRAIN = 1
    MAINT = 2

REFUSED_STATUS: dict[Refused, int]
