"""The language of health checks: HAProxy's `http-check` and `tcp-check` rules, one per line.

A rule is written as in HAProxy's file, without the word in front, so that lines can be taken over:

    http_check: [send meth GET uri /hc ver HTTP/1.1 hdr Host shop.example, expect status 200-399]
    tcp_check: ['send PING\\r\\n', expect string +PONG]

What can be asked and expected is a sequence: connect, send, expect, in any order and number. This
module turns words into rules and adds those that HAProxy adds: a connect where none stands first
and, for HTTP, an `expect status 200-399` behind a last send. `edge.health.sequence` carries them
out. Bad words are a ValueError for whoever wrote them.

Not there, and refused by name: TLS (`ssl`, `sni`, `alpn`), `send-proxy`, variables, the `-lf` forms
that expand log formats, `custom`, `status-code`, `on-success`, `on-error`.

Source: HAProxy 2.6 configuration manual, sections 2.2 (quoting), 4.2 (http-check, tcp-check).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

SEND_BYTES_MAX = 16_383  # HAProxy's buffer (tune.bufsize) holds one more
PORT_MAX = 65_535
STATUS_MIN, STATUS_MAX = 100, 599

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VISIBLE = re.compile(r"[\x21-\x7e]+")
FIELD_VALUE = re.compile(r"[\x20-\x7e\t]*")
VERSION = re.compile(r"HTTP/1\.[01]")
STATUS_RANGE = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?")
ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
CONNECT_FIRST = "where a rule connects, the first one must, too"
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})  # an empty one is announced (RFC 9110 §8.6)
NAMED_ESCAPES = {"r": "\r", "n": "\n", "t": "\t"}

Ranges = tuple[tuple[int, int], ...]


class What(Enum):
    """What an expect rule looks at."""

    STATUS = "status"
    STATUS_REGEX = "rstatus"
    HEADER = "hdr"
    WHOLE_HEADER = "fhdr"
    STRING = "string"
    STRING_REGEX = "rstring"
    BINARY = "binary"
    BINARY_REGEX = "rbinary"


@dataclass(frozen=True, slots=True)
class Connect:
    """A new connection; a former one is closed. Host and port: absent, the server's own."""

    host: str | None = None
    port: int | None = None
    comment: str = ""
    is_implicit: bool = False
    step: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes, as they go out."""

    data: bytes
    comment: str = ""
    step: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """How a text is compared: str, beg, end, sub, reg. `None` as pattern takes any."""

    how: str = "str"
    pattern: bytes | None = None

    def matches(self, text: bytes) -> bool:
        pattern = self.pattern
        if pattern is None:
            return True
        if self.how == "reg":
            return re.search(pattern, text) is not None
        if self.how == "beg":
            return text.startswith(pattern)
        if self.how == "end":
            return text.endswith(pattern)
        return pattern in text if self.how == "sub" else text == pattern


@dataclass(frozen=True, slots=True)
class Expect:
    """What must be in the answer, or with `is_negated` must not.

    `min_recv`: bytes without which nothing is decided; -1: wait for more as long as it may come.
    The statuses replace HAProxy's codes for a pass, a failure and a timeout.
    """

    what: What
    pattern: bytes = b""
    codes: Ranges = ()
    name: Match = Match()
    value: Match = Match()
    is_negated: bool = False
    min_recv: int = -1
    ok_status: str = ""
    error_status: str = ""
    tout_status: str = ""
    comment: str = ""
    step: int = 0


@dataclass(frozen=True, slots=True)
class Comment:
    """Words about the rules that follow; none of it is left in what `parse_rules` gives."""

    text: str


Rule = Connect | Send | Expect
STATUSES = {
    "ok-status": ("L4OK", "L6OK", "L7OK", "L7OKC"),
    "error-status": ("L4CON", "L6RSP", "L7RSP", "L7STS", "L7OKC"),
    "tout-status": ("L4TOUT", "L6TOUT", "L7TOUT"),
}


def parse_http_rules(lines: Sequence[str], default_send: Send) -> tuple[Rule, ...]:
    """The rules of an HTTP check. `default_send` goes out where the lines do not send."""
    rules = list(_numbered(lines, parse_http_rule))
    if not any(isinstance(rule, Send) for rule in rules):
        rules.insert(1 if rules and isinstance(rules[0], Connect) else 0, default_send)
    if isinstance(rules[-1], Send):
        rules.append(Expect(What.STATUS, codes=((200, 399),), step=len(lines) + 1))
    return _connected(rules)


def parse_tcp_rules(lines: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of a TCP check."""
    return _connected(list(_numbered(lines, parse_tcp_rule)))


def parse_http_rule(line: str) -> Rule | Comment:
    """One line of `http-check`."""
    return _parse(line, {"send": _http_send}, is_http=True)


def parse_tcp_rule(line: str) -> Rule | Comment:
    """One line of `tcp-check`."""
    return _parse(line, {"send": _tcp_send, "send-binary": _tcp_send_binary}, is_http=False)


def build_request(
    method: str, uri: str, version: str, headers: Sequence[tuple[str, str]], body: bytes = b""
) -> bytes:
    """The bytes of one request, as HAProxy sends it: names in lower case, and the connection is not
    kept, which HTTP/1.0 says by itself. ValueError for what is not one request."""
    if not TOKEN.fullmatch(method):
        raise ValueError(f"method {method!r} is not an HTTP token")
    if not VISIBLE.fullmatch(uri):
        raise ValueError("a uri may hold visible ASCII characters only")
    if not VERSION.fullmatch(version):
        raise ValueError(f"version {version!r} is not HTTP/1.0 or HTTP/1.1")
    lines = [f"{method} {uri} {version}"]
    for name, value in headers:
        if not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            raise ValueError(f"{name!r} is no header that can be sent")
        lines.append(f"{name.lower()}: {value}")
    if body or method in METHODS_WITH_BODY:
        lines.append(f"content-length: {len(body)}")
    if version == "HTTP/1.1" and not any(name.lower() == "connection" for name, _ in headers):
        lines.append("connection: close")
    head = "".join(f"{line}\r\n" for line in lines)
    return _bounded(f"{head}\r\n".encode("ascii") + body)


def split_words(line: str) -> list[str]:
    """HAProxy's words: split at blanks; quotes keep blanks, and a backslash makes CR, LF, tab or a
    byte (`xHH`), or takes the next character as it is, except between single quotes."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(line):
        char = line[at]
        escape = ESCAPE.match(line, at) if quote != "'" else None
        if escape is not None:
            word = (word or "") + _unescaped(escape[1])
            at = escape.end()
            continue
        at += 1
        if char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote, word = char, word or ""
        elif not quote and char in " \t":
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + char
    if quote:
        raise ValueError(f"the quote {quote} is not closed")
    return words if word is None else [*words, word]


def _unescaped(text: str) -> str:
    if len(text) > 1:
        return chr(int(text[1:], 16))
    return "x" if text == "x" else NAMED_ESCAPES.get(text, text)


def _numbered(lines: Sequence[str], parse: Callable[[str], Rule | Comment]) -> Iterator[Rule]:
    """The rules with their steps. A comment is for the rules of one kind that follow it."""
    comment = ""
    before: type[Rule] | None = None
    for step, line in enumerate(lines, 1):
        rule = parse(line)
        if isinstance(rule, Comment):
            comment, before = rule.text, None
            continue
        if before not in (None, type(rule)) or before is Connect:
            comment = ""
        before = type(rule)
        yield replace(rule, comment=rule.comment or comment, step=step)


def _connected(rules: list[Rule]) -> tuple[Rule, ...]:
    if rules and isinstance(rules[0], Connect):
        return tuple(rules)
    if any(isinstance(rule, Connect) for rule in rules):
        raise ValueError(CONNECT_FIRST)
    return (Connect(is_implicit=True), *rules)


class _Words:
    """The words of a line, one after the other."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._words)

    def take(self) -> str:
        self._at += 1
        return self._words[self._at - 1]

    def argument(self, of: str) -> str:
        """The next word, which `of` needs."""
        if self.is_at_end:
            raise ValueError(f"{of} needs a value behind it")
        return self.take()

    def follows(self, word: str) -> bool:
        """Takes the next word if it is this one."""
        if self.is_at_end or self._words[self._at] != word:
            return False
        self._at += 1
        return True

    def negation(self) -> bool:
        """Takes the exclamation marks before a pattern; whether they negate it."""
        is_negated = False
        while not self.is_at_end and self._words[self._at].startswith("!"):
            word = self._words[self._at]
            rest = word.lstrip("!")
            is_negated ^= (len(word) - len(rest)) % 2 == 1
            self._words[self._at] = rest
            self._at += not rest
        return is_negated


def _parse(
    line: str, sends: dict[str, Callable[[_Words], Send]], *, is_http: bool
) -> Rule | Comment:
    words = _Words(split_words(line))
    if words.is_at_end:
        raise ValueError("is an empty rule")
    kind = words.take()
    rule: Rule | Comment
    if kind == "connect":
        rule = _connect(words)
    elif kind == "expect":
        rule = _expect(words, is_http=is_http)
    elif kind == "comment":
        rule = Comment(words.argument(kind))
    elif kind in sends:
        rule = sends[kind](words)
    else:
        known = ", ".join(("connect", *sends, "expect", "comment"))
        hint = "; set `disable_on_404: true` instead" if kind == "disable-on-404" else ""
        raise ValueError(f"begins with {kind!r}; a rule begins with {known}{hint}")
    if not words.is_at_end:
        raise ValueError(f"has {words.take()!r} behind its end")
    return rule


def _connect(words: _Words) -> Connect:
    rule = Connect()
    while not words.is_at_end:
        word = words.take()
        if word == "port":
            text = words.argument(word)
            if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) <= PORT_MAX:
                raise ValueError(f"port {text!r} is not a number from 1 to {PORT_MAX}")
            rule = replace(rule, port=int(text))
        elif word == "addr":
            host = words.argument(word)
            if not VISIBLE.fullmatch(host):
                raise ValueError(f"addr {host!r} is no address")
            rule = replace(rule, host=host)
        elif word == "comment":
            rule = replace(rule, comment=words.argument(word))
        elif word != "default":
            raise ValueError(f"connect has {word!r}; it takes default, addr, port, comment")
    return rule


def _tcp_send(words: _Words) -> Send:
    text = words.argument("send")
    return Send(_bounded(_bytes(text)), _comment(words))


def _tcp_send_binary(words: _Words) -> Send:
    return Send(_bounded(_hex(words.argument("send-binary"))), _comment(words))


def _comment(words: _Words) -> str:
    return words.argument("comment") if words.follows("comment") else ""


def _http_send(words: _Words) -> Send:
    method, uri, version, body, comment = "OPTIONS", "/", "HTTP/1.0", b"", ""
    headers: list[tuple[str, str]] = []
    while not words.is_at_end:
        word = words.take()
        value = words.argument(word)
        if word == "meth":
            method = value
        elif word == "uri":
            uri = value
        elif word == "ver":
            version = value
        elif word == "hdr":
            headers.append((value, words.argument(f"hdr {value}")))
        elif word == "body":
            body = _bytes(value)
        elif word == "comment":
            comment = value
        else:
            raise ValueError(f"send has {word!r}; it takes meth, uri, ver, hdr, body, comment")
    return Send(build_request(method, uri, version, headers, body), comment)


def _expect(words: _Words, *, is_http: bool) -> Expect:
    kinds = _kinds(is_http=is_http)
    rule: Expect | None = None
    options: dict[str, object] = {}
    while not words.is_at_end:
        is_negated = words.negation()
        word = words.argument("!")
        if word in kinds and rule is None:
            rule = _pattern(What(word), words, is_negated=is_negated)
        elif is_negated or word in kinds:
            raise ValueError(f"expect has {word!r} where one pattern is enough, or none")
        elif word == "min-recv":
            text = words.argument(word)
            if not re.fullmatch(r"-1|[0-9]{1,9}", text):
                raise ValueError(f"min-recv {text!r} is not -1 or a number of bytes")
            options["min_recv"] = int(text)
        elif word == "comment":
            options["comment"] = words.argument(word)
        elif word in STATUSES:
            options[word.replace("-", "_")] = _status(word, words.argument(word))
        else:
            known = ", ".join((*kinds, "min-recv", *STATUSES, "comment"))
            raise ValueError(f"expect has {word!r}; it takes {known}")
    if rule is None:
        raise ValueError(f"expect needs a pattern: one of {', '.join(kinds)}")
    return replace(rule, **options)  # type: ignore[arg-type]


def _kinds(*, is_http: bool) -> list[str]:
    http = {What.STATUS, What.STATUS_REGEX, What.HEADER, What.WHOLE_HEADER}
    tcp = {What.BINARY, What.BINARY_REGEX}
    return [what.value for what in What if what not in (tcp if is_http else http)]


def _status(option: str, text: str) -> str:
    known = STATUSES[option]
    if text.upper() not in known:
        raise ValueError(f"{option} {text!r} is not one of {', '.join(known)}")
    return text.upper()


def _pattern(what: What, words: _Words, *, is_negated: bool) -> Expect:
    rule = Expect(what, is_negated=is_negated)
    if what in (What.HEADER, What.WHOLE_HEADER):
        if not words.follows("name"):
            raise ValueError(f"{what.value} needs `name` and the name of a header")
        rule = replace(rule, name=_match(words, "name", is_name=True))
        if words.follows("value"):
            rule = replace(rule, value=_match(words, "value", is_name=False))
        return rule
    text = words.argument(what.value)
    if not text:
        raise ValueError(f"{what.value} needs a pattern that is not empty")
    if what is What.STATUS:
        return replace(rule, codes=parse_codes(text))
    if what is What.BINARY:
        return replace(rule, pattern=_hex(text))
    is_regex = what in (What.STATUS_REGEX, What.STRING_REGEX, What.BINARY_REGEX)
    return replace(rule, pattern=_regex(_bytes(text)) if is_regex else _bytes(text))


def _match(words: _Words, of: str, *, is_name: bool) -> Match:
    how = words.argument("-m") if words.follows("-m") else "str"
    if how not in ("str", "beg", "end", "sub", "reg"):
        raise ValueError(f"-m {how!r} is not one of str, beg, end, sub, reg")
    pattern = _bytes(words.argument(of))
    if how == "reg":
        # Names are compared without case; the text of one is given in lower case.
        return Match(how, _regex((b"(?i)" if is_name else b"") + pattern))
    return Match(how, pattern.lower() if is_name else pattern)


def parse_codes(text: str) -> Ranges:
    """`200,302,400-404` as (first, last) codes, both included."""
    ranges = []
    for part in text.split(","):
        found = STATUS_RANGE.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not STATUS_MIN <= first <= last <= STATUS_MAX:
            raise ValueError(f"status {text!r} is not codes and ranges such as 200,302,400-404")
        ranges.append((first, last))
    return tuple(ranges)


def _bytes(text: str) -> bytes:
    """Each escaped character is one byte; others are what UTF-8 makes of them."""
    return b"".join(bytes([ord(char)]) if ord(char) < 256 else char.encode() for char in text)


def _hex(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an even number of hexadecimal digits") from None
    if not data:
        raise ValueError("needs at least one byte")
    return data


def _regex(pattern: bytes) -> bytes:
    try:
        re.compile(pattern)
    except re.error as error:
        shown = pattern.decode("latin-1")
        raise ValueError(f"{shown!r} is no regular expression: {error}") from None
    return pattern


def _bounded(data: bytes) -> bytes:
    if len(data) > SEND_BYTES_MAX:
        raise ValueError(f"is {len(data)} bytes; at most {SEND_BYTES_MAX} are sent at once")
    return data
