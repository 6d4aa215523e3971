"""ext.squeeze: what comes out is what went in, in whatever pieces."""

import gzip

import brotli
import pytest

from ext.squeeze import Squeezer

GZIP, BROTLI = 1, 2
BODY = b"".join(b"<li>product %d</li>\n" % (i * 7919 % 1000) for i in range(5000))


def expand(coding: int, data: bytes) -> bytes:
    opened: bytes = gzip.decompress(data) if coding == GZIP else brotli.decompress(data)
    return opened


@pytest.mark.parametrize("coding", [GZIP, BROTLI])
@pytest.mark.parametrize("size", [1, 1000, 65536, len(BODY)])
def test_pieces_come_out_as_they_went_in(coding: int, size: int) -> None:
    squeezer = Squeezer(coding)
    pieces = [BODY[at : at + size] for at in range(0, len(BODY) if size > 1 else 500, size)]
    made = b"".join(squeezer.feed(piece, False) for piece in pieces[:-1])
    made += squeezer.feed(pieces[-1], True)
    assert expand(coding, made) == b"".join(pieces)
    assert size < 1000 or len(made) < len(b"".join(pieces))


@pytest.mark.parametrize("coding", [GZIP, BROTLI])
@pytest.mark.parametrize("body", [b"", b"x"])
def test_short_bodies(coding: int, body: bytes) -> None:
    assert expand(coding, Squeezer(coding).feed(body, True)) == body


@pytest.mark.parametrize("coding", [GZIP, BROTLI])
def test_end_may_come_alone(coding: int) -> None:
    squeezer = Squeezer(coding)
    assert expand(coding, squeezer.feed(BODY, False) + squeezer.feed(b"", True)) == BODY
