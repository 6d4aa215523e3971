"""edge.check_rules: words, rules, and what HAProxy adds to them."""

import pytest

from edge.check_rules import (
    Comment,
    Connect,
    Expect,
    Match,
    Rule,
    Send,
    What,
    build_request,
    parse_http_rule,
    parse_http_rules,
    parse_tcp_rule,
    parse_tcp_rules,
    split_words,
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  a  b\t c ", ["a", "b", "c"]),
        ('a "b c" d', ["a", "b c", "d"]),
        ("a 'b \"c' d", ["a", 'b "c', "d"]),
        (r"a\ b c\\d", ["a b", r"c\d"]),
        (r"PING\r\n\t\x41\x0a", ["PING\r\n\tA\n"]),
        (r'"PING\r\n"', ["PING\r\n"]),
        (r"'PING\r\n'", [r"PING\r\n"]),
        ('a""b ""', ["ab", ""]),
        (r"\#x \"y", ["#x", '"y']),
    ],
)
def test_words_are_haproxys(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize("line", ["'a", 'a "b', "\"a'"])
def test_a_quote_must_be_closed(line: str) -> None:
    with pytest.raises(ValueError, match="is not closed"):
        split_words(line)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("connect", Connect()),
        ("connect default port 80 addr ::1 comment c", Connect("::1", 80, "c")),
        ("comment 'a b'", Comment("a b")),
        ("send", Send(b"OPTIONS / HTTP/1.0\r\n\r\n")),
        ("send meth GET uri /x comment c", Send(b"GET /x HTTP/1.0\r\n\r\n", "c")),
        ("expect status 200,302-399", Expect(What.STATUS, codes=((200, 200), (302, 399)))),
        ("expect ! rstatus ^5", Expect(What.STATUS_REGEX, b"^5", is_negated=True)),
        ("expect !string x", Expect(What.STRING, b"x", is_negated=True)),
        ("expect ! ! string x", Expect(What.STRING, b"x")),
        ("expect !!! string x", Expect(What.STRING, b"x", is_negated=True)),
        ("expect min-recv 9 string x", Expect(What.STRING, b"x", min_recv=9)),
        (
            "expect hdr name X-A value -m beg Y",
            Expect(What.HEADER, name=Match("str", b"x-a"), value=Match("beg", b"Y")),
        ),
        ("expect fhdr name -m reg a", Expect(What.WHOLE_HEADER, name=Match("reg", b"(?i)a"))),
        (
            "expect status 200 ok-status l4ok error-status L7RSP tout-status L6TOUT",
            Expect(
                What.STATUS,
                codes=((200, 200),),
                ok_status="L4OK",
                error_status="L7RSP",
                tout_status="L6TOUT",
            ),
        ),
    ],
)
def test_http_rules(line: str, rule: Rule | Comment) -> None:
    assert parse_http_rule(line) == rule


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (r"send PING\r\n", Send(b"PING\r\n")),
        ("send PING comment c", Send(b"PING", "c")),
        ("send-binary 0d0A", Send(b"\r\n")),
        ("expect binary 00ff", Expect(What.BINARY, b"\0\xff")),
        (r"expect string \xff", Expect(What.STRING, b"\xff")),
        ("expect rstring ^+", None),
        ("expect rbinary ^2B", Expect(What.BINARY_REGEX, b"^2B")),
    ],
)
def test_tcp_rules(line: str, rule: Rule | None) -> None:
    if rule is None:
        with pytest.raises(ValueError, match="no regular expression"):
            parse_tcp_rule(line)
    else:
        assert parse_tcp_rule(line) == rule


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "empty rule"),
        ("look", "a rule begins with connect, send, expect, comment"),
        ("send-binary 00", "begins with 'send-binary'"),
        ("connect ssl", "connect has 'ssl'"),
        ("connect port 65536", "not a number from 1 to 65535"),
        ("connect port", "port needs a value"),
        ("comment", "comment needs a value"),
        ("comment a b", "has 'b' behind its end"),
        ("send meth G/T", "not an HTTP token"),
        ("send uri 'a b'", "visible ASCII"),
        ("send ver HTTP/2", "not HTTP/1.0 or HTTP/1.1"),
        (r"send hdr X a\r\nb", "no header that can be sent"),
        ("send hdr X: a", "no header that can be sent"),
        ("send uri-lf /", "send has 'uri-lf'"),
        ("expect", "expect needs a pattern"),
        ("expect min-recv 3", "expect needs a pattern"),
        ("expect min-recv x string a", "not -1 or a number"),
        ("expect string a string b", "one pattern is enough"),
        ("expect string ''", "not empty"),
        ("expect status 2xx", "codes and ranges"),
        ("expect status 300-200", "codes and ranges"),
        ("expect hdr x", "needs `name`"),
        ("expect hdr name -m near x", "not one of str, beg"),
        ("expect binary 00", "it takes status"),
        ("expect ok-status L7STS status 200", "not one of L4OK"),
        ("expect ! comment a string b", "one pattern is enough, or none"),
        ("send body " + "x" * 16_384, "at most 16383"),
    ],
)
def test_what_is_no_rule(line: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_http_rule(line)


GET = Send(b"GET / HTTP/1.0\r\n\r\n")
OK = Expect(What.STATUS, codes=((200, 200),))
START = Connect(is_implicit=True)


def test_a_connect_a_send_and_an_expect_are_added() -> None:
    found = parse_http_rules(["send uri /a"], GET)
    assert [type(rule) for rule in found] == [Connect, Send, Expect]
    assert found[2] == Expect(What.STATUS, codes=((200, 399),), step=2)
    assert parse_http_rules(["connect port 7"], GET)[1] == GET
    assert parse_http_rules(["expect status 200"], GET)[:2] == (START, GET)
    assert parse_tcp_rules(["send a"]) == (START, Send(b"a", step=1))


def test_where_one_connects_the_first_must_too() -> None:
    with pytest.raises(ValueError, match="the first one must, too"):
        parse_tcp_rules(["send a", "connect"])


def test_a_comment_is_for_the_rules_of_one_kind_that_follow() -> None:
    found = parse_tcp_rules(
        ["comment c", "send a", "send b comment d", "expect string e", "comment f", "send g"]
    )
    assert [(rule.comment, rule.step) for rule in found[1:]] == [
        ("c", 2),
        ("d", 3),
        ("", 4),
        ("f", 6),
    ]


@pytest.mark.parametrize(
    ("method", "version", "headers", "body", "wanted"),
    [
        ("GET", "HTTP/1.0", [("Host", "a")], b"", b"GET /x HTTP/1.0\r\nhost: a\r\n\r\n"),
        ("GET", "HTTP/1.1", [], b"", b"GET /x HTTP/1.1\r\nconnection: close\r\n\r\n"),
        (
            "PUT",
            "HTTP/1.1",
            [("Connection", "x")],
            b"",
            b"PUT /x HTTP/1.1\r\nconnection: x\r\ncontent-length: 0\r\n\r\n",
        ),
        ("GET", "HTTP/1.0", [], b"hi", b"GET /x HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi"),
    ],
)
def test_requests(
    method: str, version: str, headers: list[tuple[str, str]], body: bytes, wanted: bytes
) -> None:
    assert build_request(method, "/x", version, headers, body) == wanted
