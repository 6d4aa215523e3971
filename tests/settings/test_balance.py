"""edge.settings.balance: HAProxy's lines, what they mean, and what is refused."""

import pytest

from edge.settings.balance import (
    ALGORITHMS,
    Balance,
    HashType,
    is_static,
    read_balance,
    read_hash_type,
)
from edge.settings.haproxy import Haproxy


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("roundrobin", Balance("roundrobin")),
        ("static-rr", Balance("static-rr")),
        ("leastconn", Balance("leastconn")),
        ("first", Balance("first")),
        ("source", Balance("source")),
        ("random", Balance("random", draws=2)),
        ("random(1)", Balance("random", draws=1)),
        ("uri", Balance("uri")),
        ("uri whole", Balance("uri", whole=True)),
        ("uri path-only len 9 depth 3", Balance("uri", path_only=True, length=9, depth=3)),
        ("url_param userid", Balance("url_param", name="userid")),
        ("hdr(X-User)", Balance("hdr", name="X-User")),
        ("hdr(Host) use_domain_only", Balance("hdr", name="Host", domain_only=True)),
    ],
)
def test_balance(line: str, meant: Balance) -> None:
    assert read_balance(line) == meant
    assert Haproxy(balance=f"  {line.replace(' ', '   ')} ").balance == line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "must be one of"),
        ("best", "must be one of roundrobin"),
        ("leastcon", "did you mean leastconn?"),
        ("roundrobin fast", "roundrobin takes no further words"),
        ("leastconn(2)", "leastconn takes nothing in brackets"),
        ("random(0)", "must be a whole number from 1 to 100"),
        ("random(x)", "must be a whole number"),
        ("random()", "must be a whole number"),
        ("uri deep", "uri takes whole, path-only, len N and depth N, not 'deep'"),
        ("uri len", "uri len N: N must be a whole number"),
        ("uri depth 0", "uri depth N: N must be a whole number from 1"),
        ("hdr", "hdr needs the name"),
        ("hdr()", "hdr needs the name"),
        ("hdr(a b)", "hdr"),
        ("hdr(Host) domain", "hdr takes use_domain_only"),
        ("url_param", "url_param needs the name"),
        ("url_param a b", "url_param needs the name of one"),
        ("url_param a check_post", "check_post is not supported"),
        ("hash src", "`hash <expression>` is not supported"),
        ("rdp-cookie", "`rdp-cookie` is not supported"),
    ],
)
def test_what_is_no_balance_line_is_said(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]") as caught:
        read_balance(line)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("map-based", HashType("map-based", "sdbm", False)),
        ("map-based sdbm avalanche", HashType("map-based", "sdbm", True)),
        ("map-based wt6", HashType("map-based", "wt6", False)),
        ("consistent", HashType("consistent", "sdbm", True)),
        ("consistent djb2", HashType("consistent", "djb2", False)),
        ("consistent crc32 avalanche", HashType("consistent", "crc32", True)),
    ],
)
def test_hash_type(line: str, meant: HashType) -> None:
    assert read_hash_type(line) == meant
    assert Haproxy(hash_type=line).hash_type == line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "must begin with map-based or consistent"),
        ("ring", "must begin with map-based or consistent, not 'ring'"),
        ("consistent md5", "one of sdbm, djb2, wt6, crc32, not 'md5'"),
        ("consistent avalanche", "one of sdbm"),
        ("consistent sdbm shuffle", "only `avalanche` may stand"),
        ("consistent sdbm avalanche x", "only `avalanche` may stand"),
    ],
)
def test_what_is_no_hash_type_is_said(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]") as caught:
        read_hash_type(line)
    assert words in str(caught.value)


def test_which_algorithms_are_static() -> None:
    """HAProxy's list: static-rr and what is hashed on a map."""
    static = [name for name in ALGORITHMS if name not in ("url_param", "hdr")]
    assert [name for name in static if is_static(name, "map-based")] == [
        "static-rr",
        "source",
        "uri",
    ]
    assert [name for name in static if is_static(name, "consistent")] == ["static-rr"]
