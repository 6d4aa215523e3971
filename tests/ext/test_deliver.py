"""ext.deliver: heads of stored answers, as they are kept and as clients get them.

Every head goes through the parser first. A head is written into memory of exactly the room that
`*_room` promises; the sanitizer build watches that. Merging is in test_deliver_merged.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from ext.deliver import DeliveryForTest, Marks, marks_for_test, part_for_test, stored_for_test
from tests.ext.heads import answer

WHOLE, NOT_MODIFIED, PART, PARTS, UNSATISFIABLE = range(5)  # Form in ext/deliver.pxd
NONE, LENGTH, CHUNKED, CLOSE = range(4)  # Framing in ext/forward.pxd
SAY_NOTHING, SAY_CLOSE, SAY_KEEP_ALIVE = range(3)  # ConnectionField
MISS, HIT = range(2)  # CacheMark
DATE = b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
OURS = Marks("cache-fra12345-FRA", "FRA")
SILENT = Marks("cache-fra12345-FRA", "FRA", enabled=False)
STARTED_US = 1_700_000_000_000_123
# What a cdn behind us has written.
INNER = [
    "X-Served-By: cache-iad1-IAD", "X-Cache: MISS", "X-Cache-Hits: 0",
    "X-Timer: S1.000001,VS0,VE5",
    "Fastly-Debug-Path: (D cache-iad1-IAD 9) (F cache-iad1-IAD 9)",
    "Fastly-Debug-TTL: (M cache-iad1-IAD - - 0)", "Fastly-Debug-Digest: 00ff",
]  # fmt: skip
SURROGATE = ["Surrogate-Control: max-age=9", "Surrogate-Key: a b", "Surrogate-Capability: e=E"]


def stored(*lines: str, status: int = 200) -> tuple[bytes, int]:
    made = stored_for_test(answer(*lines, status=status), DATE)
    assert made is not None
    return made


def lines_of(head: bytes) -> list[str]:
    lines = head.decode("latin-1").split("\r\n")
    assert lines[-2:] == ["", ""]
    return lines[:-2]


def kept(*lines: str) -> tuple[list[str], list[str]]:
    """The visible and the hidden lines of the head that is stored."""
    head, visible = stored(*lines)
    assert head.endswith(b"\r\n\r\n")
    parts = head[:visible].decode("latin-1"), head[visible:-2].decode("latin-1")
    first, *shown = parts[0].split("\r\n")[:-1]
    assert first == "HTTP/1.1 200 x"
    return shown, parts[1].split("\r\n")[:-1]


def sent(
    *lines: str, marks: Any = SILENT, via: Any = b"", status: Any = 200, **delivery: Any
) -> list[str]:
    """The lines that a client gets for what was stored."""
    head, visible = stored(*lines, status=status)
    return lines_of(bytes(DeliveryForTest(head, visible, delivery, marks, via)))


# -- storing ------------------------------------------------------------------------------------


def test_fields_are_kept_in_order_and_canonical() -> None:
    shown, hidden = kept("A:1", "b:  2 ", "Date: now", "A: 3", "Content-Type: text/html")
    assert shown == ["A: 1", "b: 2", "Date: now", "A: 3", "Content-Type: text/html"]
    assert hidden == []


def test_status_line_is_ours_with_the_reason_received() -> None:
    made = stored_for_test(b"HTTP/1.0 404 Nothing here\r\nDate: now\r\n\r\n")
    assert made is not None
    assert lines_of(made[0]) == ["HTTP/1.1 404 Nothing here", "Date: now"]
    made = stored_for_test(b"HTTP/1.1 200 \r\nDate: now\r\n\r\n")
    assert made == (b"HTTP/1.1 200 \r\nDate: now\r\n\r\n", 26)


@pytest.mark.parametrize(
    "line",
    [
        "Connection: x", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers",
        "Upgrade: h2c", "Proxy-Authenticate: Basic", "Content-Length: 0", "Trailer: x", "Age: 5",
        "Transfer-Encoding: chunked",
    ],
)  # fmt: skip
def test_rfc9111_3_1_what_is_of_a_connection_or_a_moment_is_not_kept(line: str) -> None:
    assert kept("A: 1", line, "Date: now", "B: 2") == (["A: 1", "Date: now", "B: 2"], [])


def test_rfc9110_7_6_1_fields_named_by_connection_are_not_kept() -> None:
    assert kept("Connection: a, close", "A: 1", "Date: now") == (["Date: now"], [])


def test_rfc9110_6_6_1_answer_without_date_gets_one() -> None:
    assert kept("A: 1") == (["A: 1", DATE.decode().strip()], [])
    assert kept("Date: now", "A: 1") == (["Date: now", "A: 1"], [])


def test_what_a_cdn_behind_us_wrote_is_hidden_with_surrogate_last() -> None:
    mixed = [line for pair in zip(INNER, SURROGATE * 3, strict=False) for line in pair]
    shown, hidden = kept("A: 1", *mixed, "Via: 1.1 x", "Date: now")
    assert shown == ["A: 1", "Date: now"]
    assert hidden[: len(INNER) + 1] == [*INNER, "Via: 1.1 x"]
    assert hidden[len(INNER) + 1 :] == (SURROGATE * 3)[: len(INNER)]


def test_cdn_cache_control_is_visible() -> None:
    assert "CDN-Cache-Control: max-age=9" in kept("CDN-Cache-Control: max-age=9")[0]


def test_head_that_could_not_be_read_again_is_not_stored() -> None:
    """FIELDS_MAX is 256, HEAD_BYTES_MAX 73,728."""
    assert stored_for_test(answer(*["A: 1"] * 256), DATE) is None
    assert stored_for_test(answer(*["A: 1"] * 255), DATE) is not None
    assert stored_for_test(answer("Date: now", *["A: 1"] * 255), DATE) is not None
    room = 73_728 - len("HTTP/1.1 200 x\r\nDate: now\r\nA: \r\n\r\n")
    made = stored_for_test(answer("Date: now", "A: " + "a" * room))
    assert made is not None
    assert len(made[0]) == 73_728
    assert stored_for_test(answer("Date: now", "A:" + "a" * (room + 1))) is None


# -- delivering the whole -----------------------------------------------------------------------


def test_whole_answer_is_what_was_stored() -> None:
    assert sent("A: 1", "Date: now", "ETag: x", status=404) == [
        "HTTP/1.1 404 x", "A: 1", "Date: now", "ETag: x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("delivery", "written"),
    [
        ({"framing": LENGTH, "length": 0}, ["Content-Length: 0"]),
        ({"framing": LENGTH, "length": 2**40}, ["Content-Length: 1099511627776"]),
        ({"framing": CHUNKED}, ["Transfer-Encoding: chunked"]),
        ({"framing": CLOSE, "say": SAY_CLOSE}, ["Connection: close"]),
        ({"say": SAY_KEEP_ALIVE}, ["Connection: keep-alive"]),
        ({"age_s": 0}, ["Age: 0"]),
        ({"age_s": 4_294_967_295}, ["Age: 4294967295"]),
        ({}, []),
    ],
)
def test_framing_connection_and_age_are_of_this_delivery(
    delivery: dict[str, Any], written: list[str]
) -> None:
    assert sent("Date: now", **delivery) == ["HTTP/1.1 200 x", "Date: now", *written]


@pytest.mark.parametrize(
    ("received", "ours", "written"),
    [
        ([], b"", []),
        ([], b"1.1 varnish", ["Via: 1.1 varnish"]),
        (["Via: 1.0 a", "Via: 1.1 b"], b"1.1 varnish", ["Via: 1.0 a, 1.1 b, 1.1 varnish"]),
        (["Via: 1.0 a"], b"", ["Via: 1.0 a"]),
        (["Via: "], b"1.1 varnish", ["Via: 1.1 varnish"]),
    ],
)
def test_rfc9110_7_6_3_via_continues_the_stored_list(
    received: list[str], ours: bytes, written: list[str]
) -> None:
    assert sent("Date: now", *received, via=ours)[2:] == written


def test_marks_of_the_first_cdn() -> None:
    assert sent("Date: now", marks=OURS, mark=HIT, hits=3, started_us=STARTED_US, elapsed_ms=1500)[
        2:
    ] == [
        "X-Served-By: cache-fra12345-FRA",
        "X-Cache: HIT",
        "X-Cache-Hits: 3",
        "X-Timer: S1700000000.000123,VS0,VE1500",
    ]


def test_marks_continue_those_of_a_cdn_behind_us_but_the_timer() -> None:
    assert sent("Date: now", *INNER, marks=OURS, mark=HIT, hits=1, started_us=STARTED_US)[2:] == [
        "X-Served-By: cache-iad1-IAD, cache-fra12345-FRA",
        "X-Cache: MISS, HIT",
        "X-Cache-Hits: 0, 1",
        "X-Timer: S1700000000.000123,VS0,VE0",
    ]


def test_marks_come_of_several_lines() -> None:
    made = sent("Date: now", "X-Cache: HIT", "Via: 1.1 x", "x-cache: MISS, HIT", marks=OURS)
    assert "X-Cache: HIT, MISS, HIT, MISS" in made


def test_without_marks_of_our_own_those_behind_us_are_passed_on() -> None:
    assert sent("Date: now", *INNER, *SURROGATE)[2:] == [
        INNER[1], INNER[2], INNER[0], *INNER[3:],
    ]  # fmt: skip


def test_client_sees_no_surrogate_fields() -> None:
    assert sent("Date: now", *SURROGATE) == ["HTTP/1.1 200 x", "Date: now"]
    assert sent("Date: now", "Via: 1.1 x", *SURROGATE)[2:] == ["Via: 1.1 x"]


@pytest.mark.parametrize("who", ["inner", "debug"])
def test_another_cdn_and_a_debugging_client_see_surrogate_fields(who: str) -> None:
    assert sent("Date: now", *SURROGATE, **{who: True})[2:] == SURROGATE
    assert sent("Date: now", "Via: 1.1 x", *SURROGATE, **{who: True})[3:] == SURROGATE
    assert sent("Date: now", **{who: True}) == ["HTTP/1.1 200 x", "Date: now"]


# -- debug fields -------------------------------------------------------------------------------


def debug_of(*lines: str, **delivery: Any) -> list[str]:
    made = sent("Date: now", *lines, marks=OURS, **({"debug": True} | delivery))
    return [line for line in made if line.startswith("Fastly-Debug")]


def test_debug_fields_of_a_hit() -> None:
    assert debug_of(
        mark=HIT, hits=2, started_us=STARTED_US, elapsed_ms=1, age_s=23, ttl_ms=86_377_001,
        grace_ms=600_000, digest=(0x0123456789ABCDEF, 0xFEDCBA9876543210),
    ) == [
        "Fastly-Debug-Path: (D cache-fra12345-FRA 1700000000) (F cache-fra12345-FRA 1699999977)",
        "Fastly-Debug-TTL: (H cache-fra12345-FRA 86377.001 600.000 23)",
        "Fastly-Debug-Digest: 0123456789abcdeffedcba9876543210",
    ]  # fmt: skip


def test_debug_fields_of_a_miss_have_no_lifetimes() -> None:
    assert debug_of(mark=MISS, started_us=STARTED_US, ttl_ms=5, grace_ms=5)[:2] == [
        "Fastly-Debug-Path: (D cache-fra12345-FRA 1700000000) (F cache-fra12345-FRA 1700000000)",
        "Fastly-Debug-TTL: (M cache-fra12345-FRA - - -)",
    ]
    assert debug_of(mark=MISS, age_s=7)[1] == "Fastly-Debug-TTL: (M cache-fra12345-FRA - - 7)"


def test_debug_path_of_an_answer_of_our_own_has_no_fetch() -> None:
    assert debug_of(mark=HIT, hits=0)[0] == "Fastly-Debug-Path: (D cache-fra12345-FRA 0)"


def test_debug_time_of_delivery_is_that_of_the_answer() -> None:
    late = debug_of(mark=HIT, hits=1, started_us=1_999_000, elapsed_ms=1)
    assert late[0].startswith("Fastly-Debug-Path: (D cache-fra12345-FRA 2) ")


@pytest.mark.parametrize(
    ("ttl_ms", "text"), [(-10_999, "-10.999"), (-1, "-0.001"), (0, "0.000"), (1_000, "1.000")]
)
def test_debug_lifetime_of_what_is_stale_is_negative(ttl_ms: int, text: str) -> None:
    made = debug_of(mark=HIT, hits=1, ttl_ms=ttl_ms)
    assert made[1] == f"Fastly-Debug-TTL: (H cache-fra12345-FRA {text} 0.000 -)"


@pytest.mark.parametrize("who", ["inner", "debug"])
def test_debug_fields_put_the_outer_cdn_first(who: str) -> None:
    made = debug_of(*INNER, mark=HIT, hits=1, **({"debug": False} | {who: True}))
    assert made == [
        "Fastly-Debug-Path: (D cache-fra12345-FRA 0) (F cache-fra12345-FRA 0)"
        " (D cache-iad1-IAD 9) (F cache-iad1-IAD 9)",
        "Fastly-Debug-TTL: (H cache-fra12345-FRA 0.000 0.000 -) (M cache-iad1-IAD - - 0)",
        f"Fastly-Debug-Digest: {'0' * 32}",
    ]


def test_other_clients_see_no_debug_fields() -> None:
    assert debug_of(*INNER, debug=False) == []


# -- other forms --------------------------------------------------------------------------------

FULL = [
    "Server: s", "Date: now", "Cache-Control: max-age=9", "CDN-Cache-Control: max-age=8",
    "Content-Type: text/html", "Content-Encoding: gzip", "Content-Language: de",
    "Content-Location: /x", 'ETag: "x"', "Expires: then", "Last-Modified: before", "Vary: A",
    "Set-Cookie: a=b", "Content-Range: bytes 0-1/2", "X-Own: 1",
]  # fmt: skip


def test_rfc9110_15_4_5_not_modified_has_what_guides_an_update() -> None:
    assert sent(*FULL, form=NOT_MODIFIED) == [
        "HTTP/1.1 304 Not Modified", "Date: now", "Cache-Control: max-age=9",
        "CDN-Cache-Control: max-age=8", "Content-Location: /x", 'ETag: "x"', "Expires: then",
        "Vary: A",
    ]  # fmt: skip


def test_rfc9110_15_4_5_last_modified_stands_for_an_absent_etag() -> None:
    assert sent("Date: now", "Last-Modified: before", form=NOT_MODIFIED)[1:] == [
        "Date: now", "Last-Modified: before",
    ]  # fmt: skip


def test_rfc9110_14_4_part() -> None:
    made = sent(*FULL, form=PART, range=(2, 5), total=10, framing=LENGTH, length=4)
    fields = [line for line in FULL if not line.startswith("Content-Range")]
    assert made == [
        "HTTP/1.1 206 Partial Content", *fields, "Content-Range: bytes 2-5/10", "Content-Length: 4",
    ]  # fmt: skip


def test_rfc9110_14_4_part_of_an_unknown_whole() -> None:
    made = sent("Date: now", form=PART, range=(0, 0), total=-1)
    assert made[-1] == "Content-Range: bytes 0-0/*"


def test_rfc9110_15_3_7_2_parts_have_their_types_inside() -> None:
    made = sent(*FULL, form=PARTS, total=10, boundary=b"edge", framing=LENGTH, length=400)
    fields = [line for line in FULL if not line.startswith(("Content-Range", "Content-Type"))]
    assert made == [
        "HTTP/1.1 206 Partial Content", *fields,
        "Content-Type: multipart/byteranges; boundary=edge", "Content-Length: 400",
    ]  # fmt: skip


def test_rfc9110_15_5_17_unsatisfiable() -> None:
    made = sent(*FULL, form=UNSATISFIABLE, total=10, framing=LENGTH, length=0)
    assert made == [
        "HTTP/1.1 416 Range Not Satisfiable", "Date: now", "Content-Range: bytes */10",
        "Content-Length: 0",
    ]  # fmt: skip


def test_rfc9110_14_4_unsatisfiable_of_an_unknown_length_says_nothing() -> None:
    assert sent("Date: now", form=UNSATISFIABLE, total=-1)[1:] == ["Date: now"]


@pytest.mark.parametrize("form", [WHOLE, NOT_MODIFIED, PART, PARTS, UNSATISFIABLE])
def test_every_form_has_age_via_and_marks(form: int) -> None:
    made = sent(
        "Date: now", "Via: 1.1 x", *INNER, *SURROGATE, marks=OURS, via=b"1.1 varnish", form=form,
        boundary=b"edge", age_s=4, mark=HIT, hits=1,
    )  # fmt: skip
    tail = made[made.index("Age: 4") :]
    assert tail == [
        "Age: 4", "Via: 1.1 x, 1.1 varnish", "X-Served-By: cache-iad1-IAD, cache-fra12345-FRA",
        "X-Cache: MISS, HIT", "X-Cache-Hits: 0, 1", "X-Timer: S0.000000,VS0,VE0",
    ]  # fmt: skip


@pytest.mark.parametrize("form", [WHOLE, NOT_MODIFIED, PART, PARTS, UNSATISFIABLE])
def test_every_form_shows_surrogate_fields_to_another_cdn_once(form: int) -> None:
    made = sent("Date: now", *SURROGATE, form=form, boundary=b"edge", inner=True)
    assert [line for line in made if line.startswith("Surrogate")] == SURROGATE


def test_rfc9110_14_6_head_of_a_part() -> None:
    head, _ = stored("Content-Type: text/html; charset=x", "Date: now")
    assert part_for_test(head, (0, 499), 8000, b"edge") == (
        b"\r\n--edge\r\nContent-Type: text/html; charset=x\r\n"
        b"Content-Range: bytes 0-499/8000\r\n\r\n"
    )
    assert part_for_test(head, None, 8000, b"edge") == b"\r\n--edge--\r\n"


def test_part_of_what_has_no_type_has_none() -> None:
    head, _ = stored("Date: now")
    assert part_for_test(head, (1, 1), -1, b"b") == (
        b"\r\n--b\r\nContent-Range: bytes 1-1/*\r\n\r\n"
    )


# -- answers that are passed through ------------------------------------------------------------


def test_marks_of_a_pass_continue_the_origins() -> None:
    made = marks_for_test(answer(*INNER, *SURROGATE), OURS, {"started_us": STARTED_US})
    assert made.decode().split("\r\n") == [
        "X-Served-By: cache-iad1-IAD, cache-fra12345-FRA", "X-Cache: MISS, MISS",
        "X-Cache-Hits: 0, 0", "X-Timer: S1700000000.000123,VS0,VE0", "",
    ]  # fmt: skip


def test_surrogate_fields_of_a_pass_go_on_to_another_cdn() -> None:
    made = marks_for_test(answer("A: 1", *SURROGATE), SILENT, {"inner": True})
    assert made.decode().split("\r\n") == [*SURROGATE, ""]


def test_marks_of_an_answer_of_our_own() -> None:
    made = marks_for_test(b"", OURS, {"mark": HIT}).decode().split("\r\n")
    assert made[:3] == ["X-Served-By: cache-fra12345-FRA", "X-Cache: HIT", "X-Cache-Hits: 0"]
    assert marks_for_test(b"", SILENT, {"mark": HIT, "debug": True}) == b""


# -- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", ["", "n" * 65])
def test_nodes_name_is_bounded(node: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 characters"):
        Marks(node, "FRA")


@pytest.mark.parametrize("form", [WHOLE, NOT_MODIFIED, PART, PARTS, UNSATISFIABLE])
@pytest.mark.parametrize("lines", [["Date: now"], [*FULL, *INNER, *SURROGATE, "Via: 1.1 x"]])
def test_room_suffices_for_the_most_growth(form: int, lines: list[str]) -> None:
    """Four tiers with the longest pseudonyms, the longest node and numbers, the longest boundary;
    bytes() asserts it."""
    most = 2**63 - 1
    delivery: dict[str, Any] = {
        "form": form, "framing": LENGTH, "length": most, "total": most, "range": (most, most),
        "boundary": b"b" * 70, "age_s": 2**32 - 1, "hits": 2**32 - 1, "started_us": 2**64 - 1,
        "elapsed_ms": 2**32 - 1, "inner": True, "debug": True, "ttl_ms": -most, "grace_ms": most,
        "digest": (2**64 - 1, 2**64 - 1), "say": SAY_KEEP_ALIVE,
    }  # fmt: skip
    via = b", ".join([b"1.1 " + b"v" * 64] * 4)
    assert sent(*lines, marks=Marks("n" * 64, "FRA"), via=via, **delivery)


def test_what_is_no_stored_head_is_not_delivered() -> None:
    assert DeliveryForTest(b"no head", 7, {"form": PART}, OURS).build() == 0
    assert DeliveryForTest(b"HTTP/1.1 200 x\r\nVia 1\r\n\r\n", 16, {}, OURS).build() == 0
