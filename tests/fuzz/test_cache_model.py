"""tests/fuzz/cache_model.py sees what a cache may not do, and lets pass what it may."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest

from tests.fuzz.cache_model import SLACK_S, Ask, Got, Model, Purge, Version
from tests.fuzz.cache_world import (
    LONG_FIRST,
    MAX_OBJECT_BYTES,
    SIZES,
    Resource,
    body_of,
    make_resources,
)

RESOURCE = Resource(
    number=0,
    host=b"a.example",
    path=b"/r/0",
    status=200,
    size=1000,
    framing="length",
    control=(),
    ttl_s=60,
    stale_s=0,
    vary=(b"x-kind",),
    is_fickle=False,
    keys=(b"k1",),
    has_etag=True,
    is_text=False,
    is_shared=True,
    is_faulty=False,
)
OTHER = replace(RESOURCE, number=1, path=b"/r/1")
FETCHED_AT, ASKED_AT = 100.0, 110.0


def one(policy: str = "fastly", **changes: Any) -> tuple[Model, Version]:
    """A model that knows one whole version, fetched for request 1 with X-Kind: a."""
    model = Model(policy)
    resource = replace(RESOURCE, **changes)
    version = model.note_version(resource, b"GET", 1, {b"x-kind": b"a"}, FETCHED_AT)
    version.is_whole = True
    return model, version


def asked(version: Version, **changes: Any) -> Ask:
    """A later request for the same."""
    fields = changes.pop("fields", {}) | {b"x-kind": b"a"}
    return Ask(2, changes.pop("resource", version.resource), fields=fields, sent_at=ASKED_AT)


def got(version: Version, **changes: Any) -> Got:
    """The right answer with changes."""
    fields = changes.pop("fields", {})
    right = Got(200, {b"x-serial": b"%d" % version.serial, b"x-cache": b"HIT"}, version.body())
    return replace(right, fields=right.fields | fields, **changes)


def test_a_right_answer_passes() -> None:
    model, version = one()
    assert model.judge(asked(version), got(version)) is None


def test_the_answer_of_another_url() -> None:
    model, version = one()
    assert "/r/0" in str(model.judge(asked(version, resource=OTHER), got(version)))


def test_a_version_that_never_was() -> None:
    model, version = one()
    answer = got(version, fields={b"x-serial": b"0"})
    assert "never" in str(model.judge(asked(version), answer))


@pytest.mark.parametrize("value", [b"b", None])
def test_another_variant(value: bytes | None) -> None:
    model, version = one()
    ask = asked(version)
    ask.fields = {} if value is None else {b"x-kind": value}
    assert "another x-kind" in str(model.judge(ask, got(version)))


def test_a_field_that_only_concerns_the_hop_selects_nothing() -> None:
    model, version = one()
    ask = asked(version, fields={b"connection": b"x-kind"})
    assert "another x-kind" in str(model.judge(ask, got(version)))


def test_encodings_are_normalised_by_policy() -> None:
    for policy, is_same in (("fastly", True), ("rfc9111", False)):
        model = Model(policy)
        version = model.note_version(RESOURCE, b"GET", 1, {b"accept-encoding": b"br"}, FETCHED_AT)
        version.is_whole = True
        ask = asked(version, fields={b"accept-encoding": b"gzip, br"})
        assert (model.judge(ask, got(version)) is None) == is_same


def test_what_is_for_one_client_alone() -> None:
    model, version = one(is_shared=False)
    assert "for 1 alone" in str(model.judge(asked(version), got(version)))


def test_a_miss_that_fetched_nothing() -> None:
    model, version = one()
    answer = got(version, fields={b"x-cache": b"MISS, MISS"})
    assert "a miss" in str(model.judge(asked(version), answer))


def test_an_answer_to_post() -> None:
    model, version = one()
    version.method = b"POST"
    assert "POST" in str(model.judge(asked(version), got(version)))


def test_an_answer_to_head() -> None:
    model, version = one()
    version.method = b"HEAD"
    assert "HEAD" in str(model.judge(asked(version), got(version)))
    # Its tag is as good as another, when the origin says so.
    ask = asked(version, fields={b"if-none-match": version.etag})
    assert model.judge(ask, got(version, status=304, body=b"")) is None


@pytest.mark.parametrize(
    ("purge", "is_wrong"),
    [
        (Purge(105, 106, False, key=b"k1"), True),
        (Purge(105, 106, True, key=b"k1"), True),
        (Purge(105, 106, False, url=b"a.example/r/0"), True),
        (Purge(105, 106, False), True),
        (Purge(105, 106, False, key=b"k2"), False),
        (Purge(105, 106, False, url=b"b.example/r/0"), False),
        (Purge(105, 111, False), False),  # not over yet
        (Purge(99, 106, False), False),  # began before the fetch
    ],
)
def test_purges(purge: Purge, is_wrong: bool) -> None:
    model, version = one()
    model.note_purge(purge)
    assert ("purged" in str(model.judge(asked(version), got(version)))) == is_wrong


def test_what_was_purged_softly_may_be_renewed_or_be_stale_still() -> None:
    for stale_s, renewed_at in ((0.0, 107.0), (60.0, 0.0)):
        model, version = one(stale_s=stale_s)
        model.note_purge(Purge(105, 106, True))
        version.renewed_at = max(version.renewed_at, renewed_at)
        assert model.judge(asked(version), got(version)) is None


def test_age() -> None:
    for stale_s, is_wrong in ((0.0, True), (9.0, False)):
        model, version = one(ttl_s=1, stale_s=stale_s)
        assert ("s old" in str(model.judge(asked(version), got(version)))) == is_wrong
        version.renewed_at = ASKED_AT - SLACK_S
        assert model.judge(asked(version), got(version)) is None


def test_no_cache_is_the_rfcs() -> None:
    for policy, is_wrong in (("fastly", False), ("rfc9111", True)):
        model, version = one(policy)
        ask = asked(version, fields={b"cache-control": b"no-cache"})
        assert ("validated" in str(model.judge(ask, got(version)))) == is_wrong


def test_bodies() -> None:
    model, version = one()
    whole = version.body()
    for body in (whole[:-1], whole + b"x", b"x" + whole[1:], b""):
        assert model.judge(asked(version), got(version, body=body)) is not None
    for body in (whole[:-1], b"", whole):
        assert model.judge(asked(version), got(version, body=body, is_cut=True)) is None
    assert model.judge(asked(version), got(version, body=b"x", is_cut=True)) is not None


def test_a_cut_answer_that_looks_whole() -> None:
    model, version = one()
    version.is_whole = False
    assert "cut" in str(model.judge(asked(version), got(version)))


@pytest.mark.parametrize(
    ("content_range", "body", "is_right"),
    [
        (b"bytes 0-3/1000", slice(0, 4), True),
        (b"bytes 990-999/1000", slice(990, 1000), True),
        (b"bytes 1-4/1000", slice(0, 4), False),
        (b"bytes 0-3/999", slice(0, 4), False),
        (b"lines 0-3", slice(0, 4), False),
    ],
)
def test_parts(content_range: bytes, body: slice, is_right: bool) -> None:
    model, version = one()
    answer = got(version, status=206, body=version.body()[body])
    answer.fields[b"content-range"] = content_range
    assert (model.judge(asked(version), answer) is None) == is_right


def test_multipart() -> None:
    model, version = one()
    whole = version.body()
    for second in (whole[5:7], whole[4:6]):
        body = b"".join(
            b"\r\n--B\r\nContent-Range: bytes %d-%d/1000\r\n\r\n%s" % (at, at + 1, part)
            for at, part in ((0, whole[:2]), (5, second))
        )
        answer = got(version, status=206, body=body + b"\r\n--B--\r\n")
        answer.fields[b"content-type"] = b'multipart/byteranges; boundary="B"'
        assert (model.judge(asked(version), answer) is None) == (second == whole[5:7])


def test_304_is_for_a_tag_that_the_client_has() -> None:
    model, version = one()
    answer = Got(304, {b"etag": b'W/"1"'}, b"")
    for known, is_right in ((b'"7", "1"', True), (b'"7"', False)):
        ask = asked(version, fields={b"if-none-match": known})
        assert (model.judge(ask, answer) is None) == is_right


def test_compressed_bodies_are_opened() -> None:
    model, version = one(is_text=True)
    squeeze = zlib.compressobj(wbits=31)
    body = squeeze.compress(version.body()) + squeeze.flush()
    answer = got(version, body=body, fields={b"content-encoding": b"gzip"})
    assert "not asked for" in str(model.judge(asked(version), answer))
    ask = asked(version, fields={b"accept-encoding": b"gzip"})
    assert model.judge(ask, answer) is None
    assert model.judge(ask, replace(answer, body=body[:-20])) is not None
    assert model.judge(ask, replace(answer, body=body[:-20], is_cut=True)) is None


@pytest.mark.parametrize(
    ("changes", "status", "is_right"),
    [
        ({}, 503, False),
        ({"is_faulty": True}, 503, True),
        ({"size": MAX_OBJECT_BYTES + 1}, 503, True),
        ({"is_faulty": True}, 200, False),
        ({"is_faulty": True}, 403, False),
    ],
)
def test_pages_of_edge_itself(changes: dict[str, Any], status: int, is_right: bool) -> None:
    model, version = one(**changes)
    assert (model.judge(asked(version), Got(status, {}, b"page")) is None) == is_right


def test_disturbances_have_a_time() -> None:
    model = Model("fastly")
    model.note_disturbance(10, 20)
    spans = ((1, 9), (1, 10), (12, 13), (20, 30), (21, 30))
    assert [model.was_disturbed(*span) for span in spans] == [False, True, True, True, False]


def test_the_site_follows_from_the_seed() -> None:
    site = make_resources(1, 60, "fastly")
    assert site == make_resources(1, 60, "fastly")
    assert site != make_resources(2, 60, "fastly")
    assert len({(resource.host, resource.path) for resource in site}) == 60
    assert site[LONG_FIRST].size == SIZES[-1] > MAX_OBJECT_BYTES


def test_no_two_versions_have_one_body() -> None:
    bodies = {body_of(RESOURCE, serial) for serial in range(100)}
    assert len(bodies) == 100
    assert all(len(body) == RESOURCE.size for body in bodies)
