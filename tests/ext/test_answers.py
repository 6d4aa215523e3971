"""ext.answers: the pages that the tiers write themselves, against the programs they stand for."""

import pytest

from ext.answers import build_answer
from ext.http1 import ResponseHead, parse_response
from ext.limits import REFUSED_STATUS

CDN, ELB, HAPROXY = 0, 1, 2  # TierKind in ext/upstream.pxd
KINDS = (CDN, ELB, HAPROXY)
# Every status that a tier answers by itself.
STATUSES = sorted({*REFUSED_STATUS.values(), 405, 408, 500, 502, 503, 504})

# Lengths of the pages that are compiled into HAProxy 2.6.12; it has none for 414 and 431.
HAPROXY_BODY_BYTES = {
    400: 90, 403: 93, 405: 146, 408: 110, 413: 106, 500: 97, 502: 107, 503: 107, 504: 92,
}  # fmt: skip


def parsed(answer: bytes) -> tuple[ResponseHead, dict[bytes, bytes], bytes]:
    head = parse_response(answer)
    assert head is not None
    fields = dict(head.headers)
    assert len(fields) == len(head.headers)
    return head, fields, answer[head.size :]


def test_haproxys_503_is_byte_exact() -> None:
    """As measured on HAProxy 2.6.12 and 2.8.25."""
    assert build_answer(HAPROXY, 503, close=False) == (
        b"HTTP/1.1 503 Service Unavailable\r\n"
        b"content-length: 107\r\n"
        b"cache-control: no-cache\r\n"
        b"content-type: text/html\r\n"
        b"\r\n"
        b"<html><body><h1>503 Service Unavailable</h1>\n"
        b"No server is available to handle this request.\n"
        b"</body></html>\n"
    )


@pytest.mark.parametrize(
    ("status", "line", "text"),
    [
        (400, b"400 Bad request", b"Your browser sent an invalid request."),
        (403, b"403 Forbidden", b"Request forbidden by administrative rules."),
        (408, b"408 Request Time-out", b"Your browser didn't send a complete request in time."),
        (413, b"413 Payload Too Large", b"The request entity exceeds the maximum allowed."),
        (500, b"500 Internal Server Error", b"An internal server error occurred."),
        (502, b"502 Bad Gateway", b"The server returned an invalid or incomplete response."),
        (504, b"504 Gateway Time-out", b"The server didn't respond in time."),
    ],
)
def test_haproxys_words(status: int, line: bytes, text: bytes) -> None:
    answer = build_answer(HAPROXY, status, close=False)
    assert answer.startswith(b"HTTP/1.1 " + line + b"\r\n")
    _, _, body = parsed(answer)
    assert body == b"<html><body><h1>" + line + b"</h1>\n" + text + b"\n</body></html>\n"


@pytest.mark.parametrize(("status", "size"), HAPROXY_BODY_BYTES.items())
def test_haproxys_body_lengths(status: int, size: int) -> None:
    head, _, body = parsed(build_answer(HAPROXY, status, close=True))
    assert (len(body), head.content_length) == (size, size)


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (502, b"Bad Gateway"),
        (503, b"Service Temporarily Unavailable"),
        (504, b"Gateway Time-out"),
    ],
)
def test_elbs_page_is_an_albs(status: int, title: bytes) -> None:
    answer = build_answer(ELB, status, close=False)
    code = b"%d" % status
    assert answer.startswith(b"HTTP/1.1 " + code + b" " + title + b"\r\n")
    _, fields, body = parsed(answer)
    assert (fields[b"Server"], fields[b"Content-Type"]) == (b"awselb/2.0", b"text/html")
    assert body == (
        b"<html>\r\n<head><title>" + code + b" " + title + b"</title></head>\r\n<body>\r\n"
        b"<center><h1>" + code + b" " + title + b"</h1></center>\r\n</body>\r\n</html>\r\n"
    )


def test_cdns_page_is_never_cached() -> None:
    _, fields, body = parsed(build_answer(CDN, 503, close=False))
    assert fields[b"Cache-Control"] == b"private, no-store"
    assert b"503 Service Unavailable" in body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", STATUSES)
def test_every_tier_can_answer_every_status(kind: int, status: int) -> None:
    head, fields, body = parsed(build_answer(kind, status, close=True))
    assert head.status == status
    assert head.content_length == len(body) > 0
    assert b"%d" % status in body
    assert body.count(head.reason) >= 1
    assert (b"allow" in fields) == (status == 405)  # RFC 9110 §15.5.6


@pytest.mark.parametrize("kind", KINDS)
def test_rfc9110_9_3_2_head_gets_the_length_without_the_body(kind: int) -> None:
    whole = build_answer(kind, 503, close=False)
    head_only = build_answer(kind, 503, close=False, head_only=True)
    assert head_only == whole[: whole.index(b"\r\n\r\n") + 4]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("close", "minor", "said"),
    [(True, 1, b"close"), (True, 0, b"close"), (False, 1, None), (False, 0, b"keep-alive")],
)
def test_rfc9112_9_3_connection(kind: int, close: bool, minor: int, said: bytes | None) -> None:
    """1.1 is persistent unless told, 1.0 is not unless told."""
    _, fields, _ = parsed(build_answer(kind, 502, close=close, minor=minor))
    assert fields.get(b"connection") == said


@pytest.mark.parametrize("kind", KINDS)
def test_retry_after_is_sent_when_there_is_one(kind: int) -> None:
    _, fields, _ = parsed(build_answer(kind, 503, close=False, retry_after_s=7))
    assert fields[b"retry-after"] == b"7"
    _, fields, _ = parsed(build_answer(kind, 503, close=False))
    assert b"retry-after" not in fields
