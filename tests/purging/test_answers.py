"""edge.purging.answers: to the byte as Fastly's recorded answers."""

import json

from edge.purging.answers import (
    ALL_PURGED,
    NO_SUCH_SERVICE,
    UNAUTHORISED,
    PurgeIds,
    key_purged,
    keys_purged,
    purged,
    refused,
)


def test_ids_count_up_within_a_process() -> None:
    ids = PurgeIds(108, 1_391_560_174.9)
    assert [ids.next() for _ in range(3)] == [
        "108-1391560174-1",
        "108-1391560174-2",
        "108-1391560174-3",
    ]


def test_one_key_is_as_recorded() -> None:
    answer = key_purged("4151-1635861748-11038")
    assert answer.body == b'{ "status": "ok", "id": "4151-1635861748-11038" }'
    assert len(answer.body) == 49  # the recording's Content-Length
    assert dict(answer.fields) == {
        "Accept-Ranges": "bytes",
        "Via": "1.1 varnish",
        "Fastly-Surrogate-Key-Count": "1",
    }


def test_a_url_is_the_same_without_a_count() -> None:
    answer = purged("1000098-1722961031-13237063")
    assert answer.body == b'{ "status": "ok", "id": "1000098-1722961031-13237063" }'
    assert dict(answer.fields) == {"Accept-Ranges": "bytes", "Via": "1.1 varnish"}


def test_a_batch_is_as_recorded() -> None:
    answer = keys_purged({b"foo": "4151-1-35", b"bar": "4151-1-36"})
    assert answer.body == b'{ "foo": "4151-1-35", "bar": "4151-1-36" }'
    assert dict(answer.fields)["Fastly-Surrogate-Key-Count"] == "2"


def test_keys_are_json_whatever_they_hold() -> None:
    keys = {b'a"b\\': "1", "é".encode(): "2", b"\xff": "3"}
    assert json.loads(keys_purged(keys).body) == {'a"b\\': "1", "é": "2", "\ufffd": "3"}
    assert "é".encode() in keys_purged(keys).body


def test_the_others_are_fixed() -> None:
    assert (ALL_PURGED.status, ALL_PURGED.body) == (200, b'{"status":"ok"}')
    assert dict(ALL_PURGED.fields) == {"Cache-Control": "no-store"}
    assert UNAUTHORISED.status == 401
    assert UNAUTHORISED.body == b'{"msg":"Provided credentials are missing or invalid"}'
    assert NO_SUCH_SERVICE.status == 404
    assert NO_SUCH_SERVICE.body == b'{"msg":"Record not found","detail":"Cannot find \'service\'"}'


def test_a_refusal_has_a_reason() -> None:
    assert refused('no "x"').body == b'{"status":"fail","reason":"no \\"x\\""}'
    assert (refused("x").status, refused("x", 413).status) == (400, 413)
