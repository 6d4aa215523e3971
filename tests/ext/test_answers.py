"""ext.answers: the pages that the tiers write themselves, against the programs they stand for."""

import zlib

import pytest

from ext.answers import FETCH_REASONS, build_answer, build_loop
from ext.http1 import ResponseHead, parse_response
from ext.limits import REFUSED_STATUS
from ext.retry import Failure

CDN, ELB, HAPROXY = 0, 1, 2  # TierKind in ext/upstream.pxd
KINDS = (CDN, ELB, HAPROXY)
# A status that is retried is passed on when no attempt is left.
NEVER_ANSWERED = {Failure.NO_FAILURE, Failure.REFUSED_BY_STATUS}
# Every status that a tier answers by itself.
STATUSES = sorted({*REFUSED_STATUS.values(), 405, 408, 410, 500, 502, 503, 504})

# Lengths of the pages that are compiled into HAProxy 2.6.12; it has none for 414 and 431.
HAPROXY_BODY_BYTES = {
    400: 90, 403: 93, 405: 146, 408: 110, 410: 114, 413: 106, 500: 97, 502: 107, 503: 107, 504: 92,
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


def test_cdns_page_is_fastlys() -> None:
    """As published by users of Fastly; the page of a 405 with their node and time has 429 bytes
    with the older heading "Guru Mediation:" instead of "Error 54113"."""
    made = build_answer(
        CDN, 503, close=False, reason="first byte timeout",
        node="cache-dub4332-DUB", now_us=1_762_300_851_000_001,
    )  # fmt: skip
    assert made.startswith(b"HTTP/1.1 503 first byte timeout\r\n")
    _, fields, body = parsed(made)
    assert fields[b"Server"] == b"Varnish"
    assert fields[b"Content-Type"] == b"text/html; charset=utf-8"
    assert fields[b"retry-after"] == b"0"
    xid = zlib.crc32(b"cache-dub4332-DUB1762300851000001")
    assert body.decode() == (
        "\n"
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"\n'
        ' "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\n'
        "<html>\n"
        "  <head>\n"
        "    <title>503 first byte timeout</title>\n"
        "  </head>\n"
        "  <body>\n"
        "    <h1>Error 503 first byte timeout</h1>\n"
        "    <p>first byte timeout</p>\n"
        "    <h3>Error 54113</h3>\n"
        f"    <p>Details: cache-dub4332-DUB 1762300851 {xid}</p>\n"
        "    <hr>\n"
        "    <p>Varnish cache server</p>\n"
        "  </body>\n"
        "</html>\n"
    )
    published = build_answer(CDN, 405, close=False, reason="Not allowed.", node="n" * 17)
    zeros = len(str(zlib.crc32(b"n" * 17 + b"0")))  # and a time of one digit
    assert len(parsed(published)[2]) == 429 - len("Guru Mediation:") + len("Error 54113") - (
        len("1444597345") - 1 + len("360958686") - zeros
    )


def test_cdns_page_without_a_node_has_no_details() -> None:
    assert b"Details" not in build_answer(CDN, 503, close=False)


def test_cdns_refusals_are_not_cached_and_its_failures_do_not_say_private() -> None:
    """A 503 is not cacheable; `private` would make a cdn in front of us pass it for minutes."""
    for status in STATUSES:
        _, fields, _ = parsed(build_answer(CDN, status, close=False))
        assert (fields.get(b"Cache-Control") == b"private, no-store") == (status < 500)


def test_every_failed_fetch_has_fastlys_words() -> None:
    assert set(FETCH_REASONS) == set(Failure) - NEVER_ANSWERED
    assert FETCH_REASONS[Failure.ANSWER_TIMEOUT] == "first byte timeout"
    assert FETCH_REASONS[Failure.CONNECT_TIMEOUT] == "Connection timed out"
    assert FETCH_REASONS[Failure.CLOSED_PARTIAL] == "backend read error"


def test_status_that_is_fastlys_own() -> None:
    head, _, body = parsed(build_answer(CDN, 756, close=True, reason="Too long request string"))
    assert (head.status, head.reason) == (756, b"Too long request string")
    assert b"<h1>Error 756 Too long request string</h1>" in body


def test_loop() -> None:
    """https://docs.fastly.com/en/guides/loop-detection"""
    assert build_loop("cache-fra1-FRA") == (
        b"HTTP/1.1 503 Loop detected\r\n"
        b"Error-Reason: loop detected\r\n"
        b"Connection: close\r\n"
        b"Content-Type: text/plain\r\n"
        b"Fastly-Host: cache-fra1-FRA\r\n"
        b"Fastly-FF: cache-fra1-FRA\r\n"
        b"Server: Varnish\r\n"
        b"Content-Length: 0\r\n"
        b"\r\n"
    )


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
    assert fields.get(b"retry-after") == (b"0" if kind == CDN else None)
