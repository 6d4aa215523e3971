from enum import IntEnum

class HeaderId(IntEnum):
    OTHER = 0
    CONNECTION = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    HOST = 4
    UPGRADE = 5
    EXPECT = 6
    KEEP_ALIVE = 7
    PROXY_CONNECTION = 8
    TE = 9
    TRAILER = 10
    VIA = 11
    X_FORWARDED_FOR = 12
    X_FORWARDED_PROTO = 13
    X_FORWARDED_HOST = 14
    X_FORWARDED_PORT = 15
    FORWARDED = 16
    DATE = 17
    PROXY_AUTHENTICATE = 18
    PROXY_AUTHORIZATION = 19
    COOKIE = 20
    CACHE_CONTROL = 21
    AUTHORIZATION = 22
    CONTENT_TYPE = 23
    CONTENT_ENCODING = 24
    CONTENT_RANGE = 25
    SET_COOKIE = 26

FIELDS: tuple[tuple[HeaderId, bytes, int], ...]

def lookup(name: bytes) -> int: ...
