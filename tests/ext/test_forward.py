"""ext.forward: heads as they are sent on, field by field.

Every message goes through the parser first, so these are tests of what a chain of tiers changes.
A head is written into memory of exactly the room that `*_room` promises; the sanitizer build
watches that. Properties are in test_forward_properties.py.
"""

from __future__ import annotations

from collections import Counter

import pytest

from ext.forward import Recipe, request_for_test, response_for_test, trailers_for_test
from ext.headers import FIELDS
from tests.ext.recipes import (
    CDN,
    CLIENT,
    DATE,
    ELB,
    HAPROXY,
    NONE,
    PLAIN,
    SAY_NOTHING,
    answered,
    fields_of,
    get,
    head,
    hop,
    sent,
)

_, LENGTH, CHUNKED, CLOSE = range(4)  # Framing in ext/forward.pxd
_, SAY_CLOSE, SAY_KEEP_ALIVE, SAY_UPGRADE = range(4)  # ConnectionField

HOP_FIELDS = {name for _, name, flags in FIELDS if flags & 1}
NOT_TRAILERS = {name for _, name, flags in FIELDS if flags & 4}


# -- the request line and Host ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (b"GET /a?b HTTP/1.1", b"GET /a?b HTTP/1.1"),
        (b"GET /a HTTP/1.0", b"GET /a HTTP/1.1"),
        (b"M-SEARCH /a HTTP/1.1", b"M-SEARCH /a HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        (b"GET http://h/x?y HTTP/1.1", b"GET /x?y HTTP/1.1"),
        (b"GET http://h HTTP/1.1", b"GET / HTTP/1.1"),
        (b"OPTIONS http://h HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    ],
)
def test_rfc9112_3_2_request_line_is_in_origin_form(line: bytes, written: bytes) -> None:
    """RFC 9112 §3.2.4: OPTIONS of a target without a path and query becomes `*`."""
    assert request_for_test(get(line=line), hop()).split(b"\r\n")[0] == written


def test_host_is_first_and_written_as_received() -> None:
    message = head(b"GET / HTTP/1.1", b"A: 1", b"hOST:  Shop.Example:8443 ", b"B: 2")
    assert request_for_test(message, hop()) == head(
        b"GET / HTTP/1.1", b"Host: Shop.Example:8443", b"A: 1", b"B: 2"
    )


def test_rfc9112_3_2_2_absolute_form_gives_the_host() -> None:
    made = request_for_test(get(line=b"GET http://other:81/ HTTP/1.1", host=b"Host: h"), hop())
    assert made == head(b"GET / HTTP/1.1", b"Host: other:81")


def test_request_of_http_1_0_without_host_gets_an_empty_one() -> None:
    """RFC 9112 §3.2: what is forwarded as 1.1 has a Host."""
    assert request_for_test(head(b"GET / HTTP/1.0"), hop()) == head(b"GET / HTTP/1.1", b"Host: ")


def test_empty_line_before_the_request_is_not_forwarded() -> None:
    assert request_for_test(b"\r\n" + get(), hop()) == get()


# -- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "written"),
    [
        (b"X-A:1", b"X-A: 1"),
        (b"X-A:   1\t ", b"X-A: 1"),
        (b"X-A:\t1", b"X-A: 1"),
        (b"X-A: 1 ", b"X-A: 1"),
        (b"X-A: ", b"X-A: "),
        (b"X-A:", b"X-A: "),
        (b"x-a: a b\tc", b"x-a: a b\tc"),
        (b"X-A: \xff\x80", b"X-A: \xff\x80"),
    ],
)
def test_field_is_written_in_canonical_form(received: bytes, written: bytes) -> None:
    for others in ([], [b"X-B: 2"], [b"X-B:2"]):
        canonical = [line.replace(b":2", b": 2") for line in others]
        assert sent(*others, received) == [*canonical, written]
        assert sent(received, b"X-C: 3")[:1] == [written]
        assert answered(*others, received)[-1] == written


def test_order_and_repeated_fields_stay() -> None:
    lines = [b"B: 1", b"A: 2", b"Cookie: x", b"B: 3", b"Cookie: y", b"A: 4"]
    assert sent(*lines) == lines
    assert answered(*lines) == lines


@pytest.mark.parametrize("keep", range(6))
def test_dropped_fields_leave_their_neighbours_whole(keep: int) -> None:
    """Canonical fields are copied in runs, which a dropped or odd field ends."""
    lines = [b"A: 1", b"TE: x", b"B: 2", b"C:3", b"Keep-Alive: 1", b"D: 4"]
    for first in range(6):
        part = lines[first:] + lines[:keep]
        expected = [x.replace(b"C:3", b"C: 3") for x in part if x[:2] not in (b"TE", b"Ke")]
        assert sent(*part) == expected


@pytest.mark.parametrize("name", sorted(HOP_FIELDS - {b"content-length", b"transfer-encoding"}))
def test_rfc9110_7_6_1_fields_of_the_hop_are_not_forwarded(name: bytes) -> None:
    line = name + (b": close" if name == b"connection" else b": x")
    assert sent(b"A: 1", line, b"B: 2") == [b"A: 1", b"B: 2"]
    assert answered(b"A: 1", line, b"B: 2") == [b"A: 1", b"B: 2"]


def test_rfc9110_7_6_1_fields_named_by_connection_are_not_forwarded() -> None:
    lines = [b"Connection: x-secret, close ,X-Other", b"X-Secret: 1", b"A: 2", b"x-other: 3"]
    assert sent(*lines) == [b"A: 2"]
    assert answered(*lines[::-1]) == [b"A: 2"]


@pytest.mark.parametrize(
    "line", [b"Cookie: a=1", b"X-Forwarded-For: 9.9.9.9", b"Authorization: x", b"Cache-Control: y"]
)
def test_connection_cannot_remove_what_the_chain_relies_on(line: bytes) -> None:
    option = line.split(b":")[0]
    assert sent(b"Connection: " + option, line) == [line]


def test_connection_cannot_remove_host() -> None:
    assert request_for_test(get(b"Connection: host"), hop()) == get()


# -- framing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "written"),
    [
        ([b"Content-Length: 5"], [b"Content-Length: 5"]),
        ([b"Content-Length: 0"], [b"Content-Length: 0"]),
        ([b"Content-Length: 0005"], [b"Content-Length: 5"]),
        ([b"Content-Length: 9223372036854775807"], [b"Content-Length: 9223372036854775807"]),
        ([b"Transfer-Encoding: Chunked"], [b"Transfer-Encoding: chunked"]),
        ([b"transfer-encoding:chunked"], [b"Transfer-Encoding: chunked"]),
        ([], []),
    ],
)
def test_rfc9112_6_framing_of_requests_is_written_anew(
    received: list[bytes], written: list[bytes]
) -> None:
    made = request_for_test(get(*received, b"A: 1", line=b"POST / HTTP/1.1"), hop())
    assert fields_of(made) == [b"A: 1", *written]


@pytest.mark.parametrize(
    ("framing", "written"),
    [
        (NONE, []),
        (LENGTH, [b"Content-Length: 5"]),
        (CHUNKED, [b"Transfer-Encoding: chunked"]),
        (CLOSE, []),
    ],
)
def test_rfc9112_6_framing_of_answers_is_what_the_caller_decided(
    framing: int, written: list[bytes]
) -> None:
    for received in (b"Content-Length: 5", b"content-length:005"):
        message = head(b"HTTP/1.1 200 OK", received, b"A: 1")
        made = response_for_test(message, hop(), framing, SAY_NOTHING)
        assert made == head(b"HTTP/1.1 200 OK", b"A: 1", *written)


@pytest.mark.parametrize(
    ("say", "written"),
    [
        (SAY_NOTHING, []),
        (SAY_CLOSE, [b"Connection: close"]),
        (SAY_KEEP_ALIVE, [b"Connection: keep-alive"]),
    ],
)
def test_connection_of_answers_is_ours(say: int, written: list[bytes]) -> None:
    message = head(b"HTTP/1.1 200 OK", b"Connection: keep-alive", b"Content-Length: 0")
    made = response_for_test(message, hop(), NONE, say)
    assert made == head(b"HTTP/1.1 200 OK", *written)


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 404 ", b"HTTP/1.1 404 "),
        (b"HTTP/1.1 404", b"HTTP/1.1 404 "),
        (b"HTTP/1.1 599 a b\xe9", b"HTTP/1.1 599 a b\xe9"),
        (b"HTTP/1.1 100 Continue", b"HTTP/1.1 100 Continue"),
    ],
)
def test_status_line(line: bytes, written: bytes) -> None:
    made = response_for_test(head(line), hop(), NONE, SAY_NOTHING)
    assert made == head(written)


# -- upgrade ------------------------------------------------------------------------------------

UPGRADE = [b"Connection: keep-alive, Upgrade", b"Upgrade:  websocket "]
UPGRADED = [b"Connection: Upgrade", b"Upgrade: websocket"]


def test_rfc9110_7_8_upgrade_is_asked_for_anew() -> None:
    assert sent(*UPGRADE, b"Sec-WebSocket-Key: k") == [b"Sec-WebSocket-Key: k", *UPGRADED]


def test_rfc9110_7_8_upgrade_needs_both_fields() -> None:
    assert sent(UPGRADE[0]) == []
    assert sent(UPGRADE[1]) == []


def test_rfc9110_7_8_switching_is_answered_anew() -> None:
    message = head(b"HTTP/1.1 101 Switching Protocols", *UPGRADE, b"A: 1")
    made = response_for_test(message, hop(), NONE, SAY_UPGRADE)
    assert made == head(b"HTTP/1.1 101 Switching Protocols", b"A: 1", *UPGRADED)


def test_rfc9110_7_8_switching_without_upgrade_is_not_written() -> None:
    """A node that answers 101 without saying to what: there is no field to write."""
    made = response_for_test(head(b"HTTP/1.1 101 x", b"A: 1"), hop(), NONE, SAY_UPGRADE)
    assert made == head(b"HTTP/1.1 101 x", b"A: 1")


# -- X-Forwarded-* ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "received", "written"),
    [
        (["append"], [], [b"192.0.2.1"]),
        (["append"], [b"1.1.1.1"], [b"1.1.1.1, 192.0.2.1"]),
        (["append"], [b"1.1.1.1", b"2.2.2.2, 3.3.3.3"], [b"1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.1"]),
        (["append"], [b""], [b"192.0.2.1"]),
        (["line"], [], [b"192.0.2.1"]),
        (["line"], [b"1.1.1.1"], [b"1.1.1.1", b"192.0.2.1"]),
        (["preserve"], [b"1.1.1.1"], [b"1.1.1.1"]),
        (["preserve"], [], []),
        (["remove"], [b"1.1.1.1"], []),
        (["append", "append"], [b"1.1.1.1"], [b"1.1.1.1, 192.0.2.1, 127.0.0.1"]),
        (["append", "append", "line"], [], [b"192.0.2.1, 127.0.0.1", b"127.0.0.1"]),
        (["line", "line"], [b"1.1.1.1"], [b"1.1.1.1", b"192.0.2.1", b"127.0.0.1"]),
        (["line", "append"], [b"1.1.1.1"], [b"1.1.1.1, 192.0.2.1, 127.0.0.1"]),
        (["preserve", "append"], [b"1.1.1.1"], [b"1.1.1.1, 127.0.0.1"]),
        (["append", "preserve"], [], [b"192.0.2.1"]),
        (["append", "remove"], [b"1.1.1.1"], []),
        (["append", "remove", "line"], [b"1.1.1.1"], [b"127.0.0.1"]),
        (["remove", "append"], [b"1.1.1.1"], [b"127.0.0.1"]),
        (["append", "line", "append"], [], [b"192.0.2.1, 127.0.0.1, 127.0.0.1"]),
    ],
)
def test_x_forwarded_for_as_each_tier_continues_it(
    modes: list[str], received: list[bytes], written: list[bytes]
) -> None:
    """Fused tiers write what a chain of processes on one machine would."""
    recipe = Recipe([PLAIN | {"x_forwarded_for": mode} for mode in modes])
    lines = [b"x-forwarded-for: " + value for value in received]
    made = sent(*lines, recipe=recipe)
    assert [line.split(b": ", 1)[1] for line in made] == written
    assert all(line.lower().startswith(b"x-forwarded-for: ") for line in made)


def test_x_forwarded_for_has_the_given_addresses() -> None:
    recipe = Recipe([PLAIN | {"x_forwarded_for": "append"}] * 2, "10.0.0.9")
    made = request_for_test(get(), recipe, b"2001:db8::1")
    assert fields_of(made) == [b"X-Forwarded-For: 2001:db8::1, 10.0.0.9"]


@pytest.mark.parametrize(
    ("field", "ours"),
    [("proto", b"http"), ("host", b"h"), ("port", b"8080")],
)
@pytest.mark.parametrize(
    ("mode", "received", "written"),
    [
        ("set", b"evil", [b"ours"]),
        ("set", None, [b"ours"]),
        ("if_none", b"theirs", [b"theirs"]),
        ("if_none", None, [b"ours"]),
        ("off", b"theirs", [b"theirs"]),
        ("off", None, []),
    ],
)
def test_x_forwarded_proto_host_and_port(
    field: str, ours: bytes, mode: str, received: bytes | None, written: list[bytes]
) -> None:
    name = b"X-Forwarded-" + field.title().encode() + b": "
    lines = [] if received is None else [name + received]
    made = sent(*lines, **{f"x_forwarded_{field}": mode})
    assert made == [name + (ours if value == b"ours" else value) for value in written]


@pytest.mark.parametrize(
    ("modes", "received", "written"),
    [
        (["set", "if_none"], b"x", b"81"),
        (["if_none", "set"], b"x", b"82"),
        (["set", "set"], None, b"82"),
        (["if_none", "if_none"], None, b"81"),
        (["off", "if_none"], None, b"82"),
        (["if_none", "off"], b"x", b"x"),
    ],
)
def test_of_a_chain_the_last_that_sets_wins_and_the_first_that_fills_in(
    modes: list[str], received: bytes | None, written: bytes
) -> None:
    hops = [
        PLAIN | {"x_forwarded_port": mode, "port": 81 + index} for index, mode in enumerate(modes)
    ]
    lines = [] if received is None else [b"X-Forwarded-Port: " + received]
    assert sent(*lines, recipe=Recipe(hops)) == [b"X-Forwarded-Port: " + written]


def test_x_forwarded_host_of_a_request_without_host_is_left_out() -> None:
    made = request_for_test(head(b"GET / HTTP/1.0"), hop(x_forwarded_host="set"))
    assert fields_of(made) == []


# -- Via and Forwarded --------------------------------------------------------------------------


def test_rfc9110_7_6_3_via_continues_the_received_list() -> None:
    assert sent(via="varnish") == [b"Via: 1.1 varnish"]
    assert sent(b"Via: 1.0 a", b"via:1.1 b,1.1 c", via="edge") == [
        b"Via: 1.0 a, 1.1 b,1.1 c, 1.1 edge"
    ]
    assert sent(b"Via: 1.0 a") == [b"Via: 1.0 a"]
    assert answered(b"Via: 1.1 node", via="varnish") == [b"Via: 1.1 node, 1.1 varnish"]


def test_rfc9110_7_6_3_via_tells_the_version_received() -> None:
    made = request_for_test(get(line=b"GET / HTTP/1.0"), hop(via="edge"))
    assert fields_of(made) == [b"Via: 1.0 edge"]
    made = response_for_test(head(b"HTTP/1.0 200 OK"), hop(via="edge"), NONE, SAY_NOTHING)
    assert made == head(b"HTTP/1.1 200 OK", b"Via: 1.0 edge")


def test_rfc9110_7_6_3_via_has_the_order_in_which_tiers_received_the_message() -> None:
    """A request comes to the outer tier first, an answer to the inner one."""
    recipe = Recipe([PLAIN | {"via": "outer"}, PLAIN | {"via": None}, PLAIN | {"via": "inner"}])
    assert sent(recipe=recipe) == [b"Via: 1.1 outer, 1.1 inner"]
    assert answered(recipe=recipe) == [b"Via: 1.1 inner, 1.1 outer"]
    made = response_for_test(head(b"HTTP/1.0 200 OK"), recipe, NONE, SAY_NOTHING)
    assert made == head(b"HTTP/1.1 200 OK", b"Via: 1.0 inner, 1.1 outer")


@pytest.mark.parametrize(
    ("client", "node"),
    [(b"192.0.2.1", b"for=192.0.2.1"), (b"2001:db8::1", b'for="[2001:db8::1]"')],
)
def test_rfc7239_4_forwarded(client: bytes, node: bytes) -> None:
    ours = node + b';host="h";proto=http'
    recipe = hop(forwarded=True)
    assert fields_of(request_for_test(get(), recipe, client)) == [b"Forwarded: " + ours]
    made = request_for_test(get(b"forwarded: for=a", b"Forwarded: for=b"), recipe, client)
    assert fields_of(made) == [b"Forwarded: for=a, for=b, " + ours]
    made = request_for_test(head(b"GET / HTTP/1.0"), recipe, client)
    assert fields_of(made) == [b"Forwarded: " + node + b";proto=http"]


# -- Date ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "line", "received", "added"),
    [
        (True, b"HTTP/1.1 200 OK", [], True),
        (True, b"HTTP/1.1 200 OK", [b"date: yesterday"], False),
        (True, b"HTTP/1.1 100 Continue", [], False),
        (True, b"HTTP/1.1 101 x", [], False),
        (False, b"HTTP/1.1 200 OK", [], False),
    ],
)
def test_rfc9110_6_6_1_date(date: bool, line: bytes, received: list[bytes], added: bool) -> None:
    made = response_for_test(head(line, *received), hop(date=date), NONE, SAY_NOTHING, DATE)
    assert made == head(line, *received, *([DATE[:-2]] if added else []))


# -- the whole chain ----------------------------------------------------------------------------


def test_default_chain_fused() -> None:
    """cdn, elb and haproxy with their defaults: what a node gets for a browser's request."""
    message = get(b"Accept: */*", b"Connection: keep-alive", b"X-Forwarded-Proto: https")
    made = request_for_test(message, Recipe([CDN, ELB, HAPROXY]), CLIENT)
    assert fields_of(made) == [
        b"Accept: */*",
        b"X-Forwarded-For: 192.0.2.1, 127.0.0.1",
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: h",
        b"X-Forwarded-Port: 81",
        b"Via: 1.1 varnish",
    ]


def unordered(message: bytes) -> Counter[bytes]:
    return Counter(message.split(b"\r\n"))


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-For: 2.2.2.2"],
        [b"X-Forwarded-Proto: a", b"X-Forwarded-Host: b", b"X-Forwarded-Port: c", b"Via: 1.0 d"],
        [b"Connection: x-a, upgrade", b"X-A: 1", b"Upgrade: websocket", b"X-B: 2"],
        [b"Content-Length: 7"],
        [b"Transfer-Encoding: chunked", b"Trailer: x", b"TE: trailers"],
    ],
)
def test_fused_and_split_chains_write_the_same(lines: list[bytes]) -> None:
    """One pass with the recipe of all tiers, or one pass in each process of the chain."""
    message = get(*lines)
    fused = request_for_test(message, Recipe([CDN, ELB, HAPROXY]), CLIENT)
    for index, tier in enumerate((CDN, ELB, HAPROXY)):
        message = request_for_test(message, Recipe([tier]), b"127.0.0.1" if index else CLIENT)
    assert unordered(fused) == unordered(message)
    peers = [line for line in fused.split(b"\r\n") if line.startswith(b"X-Forwarded-For")]
    assert peers == [line for line in message.split(b"\r\n") if line.startswith(b"X-Forwarded-For")]


@pytest.mark.parametrize("count", [0, 5])
def test_number_of_tiers_is_bounded(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 4 tiers, not {count}"):
        Recipe([PLAIN] * count)


# -- trailers -----------------------------------------------------------------------------------


def test_rfc9112_7_1_2_trailers_are_written_behind_the_last_chunk() -> None:
    assert trailers_for_test(b"\r\n") == b"0\r\n\r\n"
    assert trailers_for_test(b"X-Sum:1 \r\nVia: 1.1 a\r\n\r\n") == (
        b"0\r\nX-Sum: 1\r\nVia: 1.1 a\r\n\r\n"
    )


@pytest.mark.parametrize("name", sorted(NOT_TRAILERS))
def test_rfc9110_6_5_1_what_may_not_be_a_trailer_is_dropped(name: bytes) -> None:
    made = trailers_for_test(b"A: 1\r\n" + name.upper() + b": x\r\nB: 2\r\n\r\n")
    assert made == b"0\r\nA: 1\r\nB: 2\r\n\r\n"


# -- room -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [1, 60, 250])
@pytest.mark.parametrize("field", [b"a:", b"a:b", b"X-Forwarded-For:", b"X-Forwarded-For:1",
                                   b"Via:x", b"Forwarded:x", b"Cookie: x"])  # fmt: skip
def test_room_suffices_for_the_most_growth(fields: int, field: bytes) -> None:
    """The shortest fields grow most when they are written again: `a:` becomes `a: `."""
    longest = PLAIN | {
        "x_forwarded_for": "append", "x_forwarded_proto": "set", "x_forwarded_host": "set",
        "x_forwarded_port": "set", "forwarded": True, "via": "v" * 64, "port": 65535, "date": True,
    }  # fmt: skip
    recipe = Recipe([longest] * 4, "2001:0db8:1111:2222:3333:4444:5555:6666")
    host = b"h" * 200
    message = head(b"GET / HTTP/1.1", b"Host:" + host, *([field] * fields), *UPGRADE)
    made = request_for_test(message, recipe, b"2001:0db8:1111:2222:3333:4444:5555:6666")
    assert made.count(host) == 3
    message = head(b"HTTP/1.1 200", *([field] * fields))
    response_for_test(message, recipe, CHUNKED, SAY_KEEP_ALIVE, DATE)
    trailers_for_test(head(*([field] * fields)))
