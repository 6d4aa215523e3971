from ext.limits import Refused

class ParseError(ValueError):
    reason: Refused
    status: int
    def __init__(self, reason: Refused, status: int) -> None: ...

class RequestHead:
    method: bytes
    target: bytes
    path: bytes
    minor: int
    headers: list[tuple[bytes, bytes]]
    host: bytes
    content_length: int
    chunked: bool
    keep_alive: bool
    upgrade: bool
    expect_continue: bool
    size: int

class ResponseHead:
    minor: int
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    content_length: int
    chunked: bool
    keep_alive: bool
    body: int
    size: int

def parse_request(
    data: bytes,
    *,
    request_line_bytes: int = 8192,
    header_bytes: int = 16384,
    header_count: int = 100,
) -> RequestHead | None: ...
def parse_response(
    data: bytes,
    *,
    request_method: bytes = b"GET",
    header_bytes: int = 65536,
    header_count: int = 256,
) -> ResponseHead | None: ...

class ChunkedReader:
    trailers: list[tuple[bytes, bytes]]
    def __init__(self, *, extension_bytes: int = 256, trailer_bytes: int = 8192) -> None: ...
    @property
    def done(self) -> bool: ...
    def feed(self, data: bytes) -> tuple[int, bytes]: ...
