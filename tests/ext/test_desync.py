"""Desync mitigation: which class a request has that the parser accepts, and what a mode does."""

import pytest

from ext.desync import REFUSED_REASONS, DesyncMode, DesyncVerdict, desync_for_test
from ext.limits import Refused
from tests.ext.recipes import get

PASS, CLOSE, REFUSE = DesyncVerdict
MONITOR, DEFENSIVE, STRICTEST = list(DesyncMode)[1:]
HEAD = b"HEAD / HTTP/1.1"
POST = b"POST / HTTP/1.1"

CASES = [
    (get(), "", ""),
    (get(b"X-Plain: caf\xc3\xa9"), "Acceptable", "NonCompliantHeader"),
    (get(b"Content-Length: 0"), "Acceptable", "GetHeadZeroContentLength"),
    (get(b"Content-Length: 0", line=HEAD), "Acceptable", "GetHeadZeroContentLength"),
    (get(b"Content-Length: 0", line=POST), "", ""),
    (get(b"Content-Length: 5"), "Ambiguous", "UndefinedContentLengthSemantics"),
    (get(b"Content-Length: 5", line=HEAD), "Ambiguous", "UndefinedContentLengthSemantics"),
    (get(b"Content-Length: 5", line=POST), "", ""),
    (get(b"Transfer-Encoding: chunked"), "Ambiguous", "UndefinedTransferEncodingSemantics"),
    (get(b"Transfer-Encoding: chunked", line=POST), "", ""),
    (get(b"Transfer_Encoding: chunked"), "Ambiguous", "SuspiciousHeader"),
    (get(b"Content_Length: 5", line=POST), "Ambiguous", "SuspiciousHeader"),
    (get(b"ContentLength: 5"), "Ambiguous", "SuspiciousHeader"),
    (get(b"tRANSFER.ENCODING: x"), "Ambiguous", "SuspiciousHeader"),
    (get(b"X-Content-Length: 5"), "", ""),
    (get(b"Content-Lengths: 5"), "", ""),
    (get(b"Content-Type: a", b"Accept-Encoding: b"), "", ""),
    # the worse of two counts
    (get(b"X: \xff", b"Content-Length: 5"), "Ambiguous", "UndefinedContentLengthSemantics"),
]


@pytest.mark.parametrize(("request_", "class_", "reason"), CASES)
def test_classes(request_: bytes, class_: str, reason: str) -> None:
    assert desync_for_test(request_, MONITOR) == (class_, reason, PASS)


@pytest.mark.parametrize(
    ("class_", "verdicts"),
    [
        ("", (PASS, PASS, PASS)),
        ("Acceptable", (PASS, PASS, REFUSE)),
        ("Ambiguous", (PASS, CLOSE, REFUSE)),
    ],
)
def test_what_each_mode_does(class_: str, verdicts: tuple[DesyncVerdict, ...]) -> None:
    for request, found, _ in CASES:
        if found == class_:
            modes = (MONITOR, DEFENSIVE, STRICTEST)
            assert tuple(desync_for_test(request, mode)[2] for mode in modes) == verdicts


def test_a_high_byte_is_found_at_every_place() -> None:
    for before in range(20):
        request = get(b"X: " + b"a" * before + b"\x80" + b"b" * 20)
        assert desync_for_test(request, MONITOR)[1] == "NonCompliantHeader"


def test_every_refusal_of_a_heads_syntax_has_awss_name() -> None:
    assert REFUSED_REASONS[Refused.LENGTH_AND_TRANSFER_ENCODING] == (2, "BothTeClPresent")
    assert REFUSED_REASONS[Refused.BAD_CONTENT_LENGTH] == (3, "BadContentLength")
