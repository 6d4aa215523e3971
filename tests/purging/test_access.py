"""edge.purging.access: the vectors of the signed token, and every way not to be let in."""

import hmac

import pytest

from edge.purging.access import Access, is_soft, only_value
from tests.purging.standin import (
    AFTER,
    BEFORE,
    EXPIRY,
    KEY,
    PATH,
    SERVICE,
    SIGNED,
    SIGNED_ROOT,
    TOKEN,
)


def judge(
    *fields: tuple[bytes, bytes], path: bytes = PATH, now_s: float = BEFORE, service: str = SERVICE
) -> int:
    return Access(service, [TOKEN, "other"]).judge_url_purge(fields, path, now_s)


def signed(token: bytes) -> tuple[bytes, bytes]:
    return b"X-Purge-Token", token


def sign(expiry: bytes, path: bytes = PATH) -> tuple[bytes, bytes]:
    signature = hmac.new(SERVICE.encode(), path + expiry, "sha1").hexdigest()
    return signed(expiry + b"_" + signature.encode())


def test_the_modules_vectors_are_let_in() -> None:
    assert judge(signed(SIGNED)) == 200
    assert judge(signed(SIGNED_ROOT), path=b"/") == 200
    assert judge((b"x-purge-token", SIGNED)) == 200


def test_the_query_is_not_signed() -> None:
    assert judge(signed(SIGNED), path=PATH + b"?p=2") == 200


def test_a_token_is_good_until_its_second_has_passed() -> None:
    assert judge(signed(SIGNED), now_s=float(EXPIRY)) == 200
    assert judge(signed(SIGNED), now_s=EXPIRY + 0.001) == 410
    assert judge(signed(SIGNED), now_s=AFTER) == 410


@pytest.mark.parametrize(
    "token",
    [
        SIGNED[:-1] + b"d",
        SIGNED[:-1],
        SIGNED + b"0",
        SIGNED.upper(),
        b"1700000031" + SIGNED[10:],
        b"1700000030_",
        b"1700000030_0x" + SIGNED[11:],
        b"1700000030__" + SIGNED[11:],
        b"x_y",
        b"1700000030_\xff",
    ],
)
@pytest.mark.parametrize("now_s", [BEFORE, AFTER])
def test_another_signature_is_403_whatever_the_time(token: bytes, now_s: float) -> None:
    assert judge(signed(token), now_s=now_s) == 403


def test_another_path_or_service_is_403() -> None:
    assert judge(signed(SIGNED), path=b"/women") == 403
    assert judge(signed(SIGNED), path=b"") == 403
    assert judge(signed(SIGNED), service="SU1Z0isxPaozGVKXdv0eZ") == 403


@pytest.mark.parametrize("expiry", [b"soon", b"-1", b"1.5", b" 1700000030", b"9" * 19, b"9" * 5000])
def test_an_expiry_that_is_no_number_has_passed(expiry: bytes) -> None:
    assert judge(sign(expiry)) == 410


def test_a_wrong_token_is_not_mended_by_a_key() -> None:
    assert judge(signed(b"1700000030_00"), KEY) == 403
    assert judge(signed(SIGNED), KEY, now_s=AFTER) == 410


@pytest.mark.parametrize("token", [b"", b"_", b"_abc", b"1700000030", b"no-underscore"])
def test_without_a_token_of_the_form_the_key_decides(token: bytes) -> None:
    assert judge(signed(token)) == 401
    assert judge(signed(token), KEY) == 200


def test_keys() -> None:
    assert judge(KEY) == 200
    assert judge((b"FASTLY-KEY", b"other")) == 200
    assert judge() == 401
    for wrong in (b"", b"edge-test-toke", b"edge-test-token2", b"EDGE-TEST-TOKEN", b"\xff"):
        assert judge((b"Fastly-Key", wrong)) == 401


def test_a_field_given_twice_is_none() -> None:
    assert judge(KEY, KEY) == 401
    assert judge(signed(SIGNED), signed(SIGNED)) == 401
    assert only_value([KEY, KEY], b"fastly-key") is None


def test_without_a_service_nobody_may() -> None:
    closed = Access()
    assert closed.judge_url_purge([KEY, signed(SIGNED)], PATH, BEFORE) == 401
    assert closed.judge_url_purge([(b"Fastly-Key", b"")], PATH, BEFORE) == 401
    assert not Access(None, [TOKEN]).knows([KEY])
    assert not closed.is_service("")
    assert not Access(SERVICE).knows([(b"Fastly-Key", b"")])


def test_services() -> None:
    assert Access(SERVICE).is_service(SERVICE)
    assert not Access(SERVICE).is_service(SERVICE.lower())


@pytest.mark.parametrize(
    ("fields", "soft"),
    [
        ([], False),
        ([(b"Fastly-Soft-Purge", b"1")], True),
        ([(b"fastly-soft-purge", b"0")], True),  # "the value is not important", says Fastly
        ([(b"Fastly-Soft", b"1")], False),
    ],
)
def test_soft_is_a_field_of_any_value(fields: list[tuple[bytes, bytes]], soft: bool) -> None:
    assert is_soft(fields) is soft
