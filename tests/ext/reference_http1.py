"""A slow HTTP/1.1 message parser that is meant to be obviously right; the measure for ext.http1.

Same surface as the Python facade of ext.http1: parse_request, parse_response, ChunkedReader. It is
written from the ABNF of RFC 9112, RFC 9110 and RFC 3986 as regular expressions over bytes, each
under its section number, and it never looks at ext. Used by tests only.

Invariants:
* A line is judged when its LF has arrived; nothing is judged earlier save a limit and a bare CR.
  (ext.http1 may refuse earlier than that. It may never accept earlier, later or differently.)
* Nothing is repaired. Where RFC 9112 lets a recipient repair or refuse, it refuses.
* No int(), strip(), split() or lower() sees a byte that no regular expression has admitted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

CONTENT_LENGTH_MAX = 2**63 - 1
CHUNK_SIZE_DIGITS_MAX = 16
METHOD_BYTES_MAX = 32

# RFC 9110 §5.6.2: token = 1*tchar
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
METHOD = re.compile(TOKEN)
# RFC 9110 §5.5: field-vchar = VCHAR / obs-text; inside a value also SP and HTAB.
FIELD_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
# RFC 9112 §5: field-line = field-name ":" OWS field-value OWS
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):(" + FIELD_VALUE + rb")")
# RFC 9112 §3: request-line = method SP request-target SP HTTP-version
REQUEST_LINE = re.compile(rb"([^ ]*) ([^ ]*) ([^ ]*)")
# RFC 9112 §3.2 names the forms by RFC 3986, whose characters are fewer: `{|}` are let through
# (deviates: shops send them and nobody splits a line or a target on them).
TARGET = re.compile(rb"[\x21\x24-;=?-\[\]_a-~]+")
# RFC 9112 §2.3: HTTP-version = "HTTP/" DIGIT "." DIGIT, of which we speak two.
HTTP_VERSION = re.compile(rb"HTTP/1\.([01])")
# RFC 9112 §4: status-line = HTTP-version SP status-code SP [ reason-phrase ]; the second SP may be
# missing, as many origins leave it out with the phrase. First digit 1-9: tests of caches use 999.
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + FIELD_VALUE + rb"))?")
# RFC 3986 §3.2.2: host = IP-literal / IPv4address / reg-name (which contains IPv4address). The
# groups of an IPv6address are not counted here: a wrong count misroutes nothing. IPvFuture is
# refused (deviates: no version of it was ever registered).
REG_NAME = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+"
IP_LITERAL = rb"\[[0-9A-Fa-f:.]+\]"
URI_HOST = rb"(?:" + IP_LITERAL + rb"|" + REG_NAME + rb")"
# RFC 9110 §7.2: Host = uri-host [ ":" port ]; port = *DIGIT, of which five are enough.
HOST = re.compile(URI_HOST + rb"(?::[0-9]{0,5})?")
# RFC 9112 §3.2.3: authority-form = uri-host ":" port; an empty port leads nowhere.
AUTHORITY_FORM = re.compile(URI_HOST + rb":[0-9]{1,5}")
# RFC 9112 §3.2.2: absolute-form = absolute-URI; without userinfo, RFC 9110 §4.2.4. A query right
# behind the authority is refused (deviates: a path would have to be made up, and readers differ).
ABSOLUTE_FORM = re.compile(rb"[hH][tT][tT][pP][sS]?://(" + HOST.pattern + rb")(/.*)?")
# RFC 9110 §8.6: Content-Length = 1*DIGIT; more digits than 2**63 - 1 has are refused.
CONTENT_LENGTH = re.compile(rb"[0-9]{1,19}")
# RFC 9110 §5.6.1, §7.6.1: Connection = #connection-option, empty elements allowed
OPTIONS_LIST = re.compile(rb"[ \t]*(?:%s)?[ \t]*(?:,[ \t]*(?:%s)?[ \t]*)*" % (TOKEN, TOKEN))
# RFC 9112 §7.1: chunk-size = 1*HEXDIG; chunk-ext begins with ";"; BWS before it is refused.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(;" + FIELD_VALUE + rb")?")
CHUNK_LINE_HEAD = re.compile(rb"([0-9A-Fa-f]*)(.*)", re.DOTALL)

BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE = range(4)

Headers = list[tuple[bytes, bytes]]


class ParseError(ValueError):
    """The bytes are no acceptable message; `status` is the answer, `reason` the rule in words."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(f"{status}: {reason}")
        self.reason = reason
        self.status = status


@dataclass(frozen=True)
class RequestHead:
    """A request's head; the fields are those of ext.http1.RequestHead."""

    method: bytes
    target: bytes
    path: bytes
    minor: int
    headers: Headers
    host: bytes
    content_length: int
    chunked: bool
    keep_alive: bool
    upgrade: bool
    expect_continue: bool
    size: int


@dataclass(frozen=True)
class ResponseHead:
    """A response's head; the fields are those of ext.http1.ResponseHead."""

    minor: int
    status: int
    reason: bytes
    headers: Headers
    content_length: int
    chunked: bool
    keep_alive: bool
    body: int
    size: int


@dataclass
class _Lines:
    """The lines of a head so far; `size` is set once the empty line has come."""

    start_line: bytes | None = None
    fields: list[bytes] = field(default_factory=list)
    size: int = -1


def parse_request(
    data: bytes,
    *,
    request_line_bytes: int = 8192,
    header_bytes: int = 16384,
    header_count: int = 100,
) -> RequestHead | None:
    """The head at the start of `data`; None = need more bytes; ParseError 400, 414 or 431."""
    # RFC 9112 §2.2: a server SHOULD ignore at least one empty line before the request-line.
    skipped = 2 if data.startswith(b"\r\n") else 0
    lines = _read_lines(data, skipped, request_line_bytes, (414, 431), header_bytes, header_count)
    if lines.start_line is None:
        return None
    method, target, minor = _parse_request_line(lines.start_line)
    headers = [_parse_field_line(line, 400) for line in lines.fields]
    if lines.size < 0:
        return None
    host = _read_host(headers, minor)
    authority, path = _parse_target(method, target)
    content_length, chunked = _read_framing(headers, minor, 400)
    connection = _connection_options(headers, 400)
    return RequestHead(
        method=method,
        target=target,
        path=path,
        minor=minor,
        headers=headers,
        # RFC 9112 §3.2.2: the authority of an absolute-form target replaces the Host field.
        host=host if authority is None else authority,
        content_length=content_length,
        chunked=chunked,
        keep_alive=_keeps_alive(connection, minor),
        # RFC 9110 §7.8: Upgrade needs the connection option, and HTTP/1.0 cannot upgrade.
        upgrade=minor == 1 and b"upgrade" in connection and bool(_values(headers, b"upgrade")),
        # RFC 9110 §10.1.1: an expectation in an HTTP/1.0 request is ignored.
        expect_continue=minor == 1
        and b"100-continue" in [value.lower() for value in _values(headers, b"expect")],
        size=lines.size,
    )


def parse_response(
    data: bytes,
    *,
    request_method: bytes = b"GET",
    header_bytes: int = 73728,
    header_count: int = 256,
) -> ResponseHead | None:
    """The head at the start of `data`; None = need more bytes; ParseError 502."""
    lines = _read_lines(data, 0, header_bytes, (502, 502), header_bytes, header_count)
    if lines.start_line is None:
        return None
    match = STATUS_LINE.fullmatch(lines.start_line)
    if match is None:
        raise ParseError("status line, RFC 9112 §4", 502)
    minor, status, reason = int(match[1]), int(match[2]), match[3] or b""
    headers = [_parse_field_line(line, 502) for line in lines.fields]
    if lines.size < 0:
        return None
    content_length, chunked = _read_framing(headers, minor, 502)
    body = _response_body(request_method, status, content_length, chunked)
    connection = _connection_options(headers, 502)
    return ResponseHead(
        minor=minor,
        status=status,
        reason=reason,
        headers=headers,
        content_length=content_length,
        chunked=chunked,
        # What version and Connection say; a body until close ends the connection all the same.
        keep_alive=_keeps_alive(connection, minor),
        body=body,
        size=lines.size,
    )


def _read_lines(
    data: bytes,
    at: int,
    start_bytes: int,
    statuses: tuple[int, int],
    header_bytes: int,
    header_count: int,
) -> _Lines:
    """Cuts a head into lines at CRLF, applying the limits; `size` < 0 = the end has not come."""
    too_long, too_large = statuses
    refused = 502 if too_large == 502 else 400
    lines = _Lines()
    headers_at = -1
    while True:
        newline = data.find(b"\n", at)
        end = len(data) if newline < 0 else newline - 1
        line = data[at:end]
        if (newline >= 0 and data[end:newline] != b"\r") or _has_bare_cr(line, newline >= 0):
            raise ParseError("bare CR or LF, RFC 9112 §2.2", refused)
        # A CR at the end of what has arrived may be the first half of CRLF and is not counted.
        line_bytes = len(line) - (newline < 0 and line.endswith(b"\r"))
        if lines.start_line is None:
            if line_bytes > start_bytes:
                raise ParseError("start line over the limit", too_long)
        elif at - headers_at + line_bytes > header_bytes:
            raise ParseError("header section over the limit", too_large)
        if newline < 0:
            return lines
        at = newline + 1
        if lines.start_line is None:
            lines.start_line, headers_at = line, at
        elif not line:
            lines.size = at
            return lines
        else:
            lines.fields.append(line)
            if len(lines.fields) > header_count:
                raise ParseError("too many fields", too_large)


def _has_bare_cr(line: bytes, complete: bool) -> bool:
    at = line.find(b"\r")
    return at >= 0 and (complete or at != len(line) - 1)


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, int]:
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise ParseError("request line, RFC 9112 §3", 400)
    method, target, version = match.groups()
    if METHOD.fullmatch(method) is None or len(method) > METHOD_BYTES_MAX:
        raise ParseError("method, RFC 9112 §3.1", 400)
    if TARGET.fullmatch(target) is None:
        raise ParseError("request target, RFC 9112 §3.2", 400)
    known = HTTP_VERSION.fullmatch(version)
    if known is None:
        raise ParseError("version, RFC 9112 §2.3", 400)
    _parse_target(method, target)
    return method, target, int(known[1])


def _parse_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """The authority of an absolute-form target (else None) and the path to be forwarded."""
    if method == b"CONNECT":
        if AUTHORITY_FORM.fullmatch(target) is None:
            raise ParseError("CONNECT needs authority-form, RFC 9112 §3.2.3", 400)
        return None, b"/"  # nothing is forwarded; the facade's word for no path
    if target.startswith(b"/"):
        return None, target
    if target == b"*":
        if method != b"OPTIONS":
            raise ParseError("asterisk-form is for OPTIONS, RFC 9112 §3.2.4", 400)
        return None, target
    match = ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise ParseError("target form, RFC 9112 §3.2", 400)
    authority, path = match[1], match[2] or b""
    if not path and method == b"OPTIONS":
        return authority, b"*"  # RFC 9112 §3.2.4, last paragraph
    return authority, path or b"/"


def _parse_field_line(line: bytes, refused: int) -> tuple[bytes, bytes]:
    """Name and value; leading whitespace (§5.2 obs-fold), no colon or a bad byte is refused."""
    match = FIELD_LINE.fullmatch(line)
    if match is None:
        raise ParseError("field line, RFC 9112 §5", refused)
    return match[1], match[2].strip(b" \t")


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def _read_host(headers: Headers, minor: int) -> bytes:
    """RFC 9112 §3.2: 400 for a missing (HTTP/1.1), repeated or invalid Host."""
    hosts = _values(headers, b"host")
    if not hosts and minor == 0:
        return b""
    if len(hosts) != 1:
        raise ParseError("not one Host, RFC 9112 §3.2", 400)
    if HOST.fullmatch(hosts[0]) is None:
        raise ParseError("Host value, RFC 9112 §3.2", 400)
    return hosts[0]


def _read_framing(headers: Headers, minor: int, refused: int) -> tuple[int, bool]:
    """RFC 9112 §6: Content-Length (-1 = none) and chunked; anything doubtful is refused."""
    lengths = _values(headers, b"content-length")
    codings = _values(headers, b"transfer-encoding")
    if len(lengths) > 1:
        raise ParseError("Content-Length repeated, RFC 9112 §6.3 (5)", refused)
    content_length = -1
    if lengths:
        if CONTENT_LENGTH.fullmatch(lengths[0]) is None:
            raise ParseError("Content-Length is no number, RFC 9110 §8.6", refused)
        content_length = int(lengths[0])
        if content_length > CONTENT_LENGTH_MAX:
            raise ParseError("Content-Length overflows, RFC 9110 §8.6", refused)
    if not codings:
        return content_length, False
    if lengths:
        raise ParseError("Content-Length with Transfer-Encoding, RFC 9112 §6.1", refused)
    if minor == 0:
        raise ParseError("Transfer-Encoding in HTTP/1.0, RFC 9112 §6.1", refused)
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise ParseError("transfer coding other than chunked, RFC 9112 §6.1", refused)
    return -1, True


def _response_body(method: bytes, status: int, content_length: int, chunked: bool) -> int:
    """RFC 9112 §6.3, rules 1, 4, 6 and 8 (2 is about CONNECT, which is never forwarded)."""
    if status < 200 or status == 204:
        # RFC 9112 §6.1, RFC 9110 §8.6: neither field may be sent; a peer that thinks there is a
        # body would read the next answer as one.
        if chunked or content_length > 0:
            raise ParseError("body announced with 1xx or 204", 502)
        return BODY_NONE
    if method == b"HEAD" or status == 304:
        return BODY_NONE
    if chunked:
        return BODY_CHUNKED
    if content_length == 0:
        return BODY_NONE
    return BODY_LENGTH if content_length > 0 else BODY_UNTIL_CLOSE


def _connection_options(headers: Headers, refused: int) -> set[bytes]:
    """RFC 9110 §7.6.1: the options of all Connection fields, in lower case."""
    values = _values(headers, b"connection")
    if not all(OPTIONS_LIST.fullmatch(value) for value in values):
        raise ParseError("Connection is no list of tokens, RFC 9110 §7.6.1", refused)
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def _keeps_alive(connection: set[bytes], minor: int) -> bool:
    """RFC 9112 §9.3."""
    if b"close" in connection:
        return False
    return minor == 1 or b"keep-alive" in connection


class ChunkedReader:
    """Reads one chunked body (RFC 9112 §7.1) from pieces of any size.

    States: "size" -> "data" -> "data end" -> "size" ... -> "trailer" -> "done".
    """

    def __init__(self, *, extension_bytes: int = 256, trailer_bytes: int = 8192) -> None:
        self.trailers: Headers = []
        self._extension_bytes_left = extension_bytes
        self._trailer_bytes_left = trailer_bytes
        self._state = "size"
        self._chunk_bytes_left = 0
        self._line = b""

    @property
    def done(self) -> bool:
        """Whether the last chunk, the trailer section and the final CRLF have been read."""
        return self._state == "done"

    def feed(self, data: bytes) -> tuple[int, bytes]:
        """Bytes consumed (all, unless the body ends inside `data`) and payload; ParseError 400."""
        payload = bytearray()
        at = 0
        while at < len(data) and not self.done:
            if self._state == "data":
                piece = data[at : at + self._chunk_bytes_left]
                payload += piece
                at += len(piece)
                self._chunk_bytes_left -= len(piece)
                if self._chunk_bytes_left == 0:
                    self._state = "data end"
            else:
                self._line += data[at : at + 1]
                at += 1
                self._on_line_byte()
        return at, bytes(payload)

    def _on_line_byte(self) -> None:
        """One more byte of framing has come; judges the line when it is complete."""
        complete = self._line.endswith(b"\n")
        line = self._line[:-2] if complete else self._line
        if (complete and not self._line.endswith(b"\r\n")) or _has_bare_cr(line, complete):
            raise ParseError("bare CR or LF in chunk framing, RFC 9112 §7.1", 400)
        line = line.removesuffix(b"\r")
        if self._state == "data end" and line:
            raise ParseError("chunk data longer than its size, RFC 9112 §7.1", 400)
        if self._state == "size":
            self._check_size_limits(line)
        if self._state == "trailer" and len(line) > self._trailer_bytes_left:
            raise ParseError("trailer section over the limit", 400)
        if complete:
            self._line = b""
            self._on_line(line)

    def _check_size_limits(self, line: bytes) -> None:
        match = CHUNK_LINE_HEAD.fullmatch(line)
        assert match is not None
        if len(match[1]) > CHUNK_SIZE_DIGITS_MAX:
            raise ParseError("chunk size has too many digits", 400)
        if len(match[2]) > self._extension_bytes_left:
            raise ParseError("chunk extensions over the limit", 400)

    def _on_line(self, line: bytes) -> None:
        if self._state == "size":
            match = CHUNK_LINE.fullmatch(line)
            if match is None:
                raise ParseError("chunk size line, RFC 9112 §7.1", 400)
            self._chunk_bytes_left = int(match[1], 16)
            if self._chunk_bytes_left > CONTENT_LENGTH_MAX:
                raise ParseError("chunk size overflows, RFC 9112 §7.1", 400)
            self._extension_bytes_left -= len(match[2] or b"")
            self._state = "data" if self._chunk_bytes_left else "trailer"
        elif self._state == "data end":
            self._state = "size"
        elif not line:
            self._state = "done"
        else:
            self._trailer_bytes_left -= len(line) + 2
            self.trailers.append(_parse_field_line(line, 400))
