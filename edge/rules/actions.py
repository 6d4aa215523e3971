"""The actions of `http-request` and `http-response` (configuration manual, section 4.2).

Each action has a parser that takes the words behind its name and leaves those of the condition. A
value that must be known before the first request (a header's name, a status) is checked here;
what a request brings is checked when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.rules.conditions import Acls, Condition, Test, parse_condition, parse_test
from edge.rules.formats import Format, parse_format
from edge.rules.samples import (
    TRACKED_MAX,
    Expression,
    Names,
    Side,
    check_regex,
    known,
    number_of,
    parse_expression,
)
from edge.rules.words import RuleError, split_words
from ext.answers import DENY_STATUSES
from ext.edits import is_editable
from ext.rulecodes import Action, RedirectFlag

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_COOKIE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*)?"
)
_REDIRECT_CODES = (301, 302, 303, 307, 308)
_ANSWER_BYTES_MAX = 1 << 20  # of a `return`: it is held in memory by every worker
_PRIORITY_CLASS_MAX = 2047  # HAProxy's
_PRIORITY_OFFSET_MAX_MS = 524_287


@dataclass(frozen=True, slots=True)
class Answer:
    """What `return`, or `deny` with arguments, answers. `body` None: the status's own page."""

    status: int
    content_type: bytes = b""
    body: Format | None = None
    fields: tuple[tuple[bytes, Format], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule. Which of its values an action uses is said where it is parsed."""

    action: Action
    condition: Condition | None = None
    name: bytes = b""
    format: Format = ()
    expression: Expression | None = None
    test: Test | None = None
    a: int = 0
    b: int = 0
    answer: Answer | None = None


@dataclass(slots=True)
class Line:
    """A line being parsed: its words so far unread, and where it stands."""

    words: list[str]
    side: Side
    names: Names

    def take(self, what: str) -> str:
        if not self.words or self.words[0] in ("if", "unless"):
            raise RuleError(f"needs {what}")
        return self.words.pop(0)

    def take_if(self, word: str) -> bool:
        if self.words and self.words[0] == word:
            self.words.pop(0)
            return True
        return False

    @property
    def next(self) -> str:
        return self.words[0] if self.words else ""

    def format(self, what: str) -> Format:
        return parse_format(self.take(what), self.side, self.names)

    def expression(self, what: str) -> Expression:
        return parse_expression(self.take(what), self.side, self.names)


def parse_rule(line: str, side: Side, acls: Acls, names: Names) -> Rule:
    """One line of `http_request` (side request) or `http_response`."""
    words = split_words(line)
    if not words:
        raise RuleError("is empty: write an action, such as `deny if { path /admin }`")
    name = words.pop(0)
    number = re.fullmatch(r"(track-sc|sc-inc-gpc0)\(?([0-9]+)\)?", name)
    key = number[1] if number else re.sub(r"\(.*", "", name)
    makers = ACTIONS[side]
    if key not in makers:
        raise RuleError(_unknown_action(key, side))
    reading = Line(words, side, names)
    if "(" in name:
        reading.words.insert(0, name[len(key) :].strip("()"))
    elif number:
        reading.words.insert(0, number[2])
    try:
        rule = makers[key](reading)
        condition = parse_condition(reading.words, side, acls, names)
    except RuleError as error:
        raise RuleError(f"`{key}` {error}") from None
    return _with_condition(rule, condition)


def _with_condition(rule: Rule, condition: Condition | None) -> Rule:
    return Rule(
        rule.action, condition, rule.name, rule.format, rule.expression, rule.test, rule.a, rule.b,
        rule.answer,
    )  # fmt: skip


def _unknown_action(name: str, side: Side) -> str:
    other = ACTIONS["response" if side == "request" else "request"]
    if name in other:
        return f"has the action `{name}`, which http_{side} has not"
    return f"has no action `{name}`; {known(name, ACTIONS[side])}"


# -- the end of a request --------------------------------------------------------------------------


def _plain(action: Action) -> Callable[[Line], Rule]:
    return lambda _line: Rule(action)


def _deny(line: Line) -> Rule:
    """`deny`, `deny deny_status 429`, `deny status 403 content-type text/plain string no`."""
    answer = _answer(line, 403, ("status", "deny_status"))
    return _refusal(Action.A_DENY, answer)


def _deny_response(line: Line) -> Rule:
    return _refusal(Action.A_DENY, _answer(line, 502, ("status", "deny_status")))


def _tarpit(line: Line) -> Rule:
    return _refusal(Action.A_TARPIT, _answer(line, 500, ("status", "deny_status")))


def _refusal(action: Action, answer: Answer) -> Rule:
    if answer.body is None and not answer.fields:
        if answer.status not in DENY_STATUSES:
            known_ones = ", ".join(map(str, DENY_STATUSES))
            raise RuleError(f"has the status {answer.status}: HAProxy has pages for {known_ones}")
        return Rule(action, a=answer.status)
    return Rule(action, a=answer.status, answer=answer)


def _return(line: Line) -> Rule:
    answer = _answer(line, 200, ("status",))
    return Rule(Action.A_RETURN, a=answer.status, answer=answer)


def _answer(line: Line, status: int, words_for_status: tuple[str, ...]) -> Answer:
    content_type = b""
    body: Format | None = None
    fields: list[tuple[bytes, Format]] = []
    while line.words and line.next not in ("if", "unless"):
        word = line.take("a word")
        if word in words_for_status:
            status = number_of(line.take("a status"), "the status")
            if not 200 <= status <= 599:
                raise RuleError(f"has the status {status}: from 200 to 599")
        elif word == "content-type":
            content_type = _value(line.take("a media type"))
        elif word in ("string", "lf-string"):
            text = line.take("a text")
            plain: Format = (_bytes(text),) if text else ()
            is_format = word == "lf-string"
            body = parse_format(text, line.side, line.names) if is_format else plain
        elif word in ("file", "lf-file"):
            text = _read(line.take("a path"))
            is_format = word == "lf-file"
            body = parse_format(text, line.side, line.names) if is_format else (_bytes(text),)
        elif word == "hdr":
            name = _field_name(line.take("a header's name"), "set")
            fields.append((name, line.format("a header's value")))
        elif word == "default-errorfiles":
            body = None
        else:
            raise RuleError(f"goes on with {word!r}; {known(word, _ANSWER_WORDS)}")
    if body and not content_type:
        raise RuleError("has a body without a `content-type`")
    return Answer(status, content_type, body, tuple(fields))


_ANSWER_WORDS = ("status", "content-type", "string", "lf-string", "file", "lf-file", "hdr",
                 "default-errorfiles", "if", "unless")  # fmt: skip


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _read(path: str) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RuleError(f"cannot read {path!r}: {error.strerror}") from None
    if len(content) > _ANSWER_BYTES_MAX:
        raise RuleError(f"has {path!r} with {len(content)} bytes: at most {_ANSWER_BYTES_MAX}")
    return content.decode("utf-8", "surrogateescape")


def _redirect(line: Line) -> Rule:
    """a: the status; b: flags; name: the value of Set-Cookie."""
    kinds = {
        "location": Action.A_REDIRECT_LOCATION,
        "prefix": Action.A_REDIRECT_PREFIX,
        "scheme": Action.A_REDIRECT_SCHEME,
    }
    action = None
    format_: Format = ()
    status, flags, cookie = 302, 0, b""
    while line.words and line.next not in ("if", "unless"):
        word = line.take("a word")
        if word in kinds:
            action, format_ = kinds[word], line.format(f"a {word}")
        elif word == "code":
            status = number_of(line.take("a status"), "the code")
            if status not in _REDIRECT_CODES:
                raise RuleError(f"has the code {status}: one of 301, 302, 303, 307, 308")
        elif word == "drop-query":
            flags |= RedirectFlag.R_DROP_QUERY
        elif word == "append-slash":
            flags |= RedirectFlag.R_APPEND_SLASH
        elif word in ("set-cookie", "clear-cookie"):
            cookie = _redirect_cookie(line.take("a cookie"), clears=word == "clear-cookie")
        else:
            raise RuleError(f"goes on with {word!r}: expected location, prefix, scheme, code,"
                            " drop-query, append-slash, set-cookie or clear-cookie")  # fmt: skip
    if action is None:
        raise RuleError("needs `location`, `prefix` or `scheme` with a value")
    return Rule(action, name=cookie, format=format_, a=status, b=flags)


def _redirect_cookie(text: str, *, clears: bool) -> bytes:
    if not _COOKIE.fullmatch(text):
        raise RuleError(f"has the cookie {text!r}: write NAME or NAME=value")
    if clears:
        return f"{text}; path=/; Max-Age=0;".encode()
    return f"{text}; path=/;".encode()


# -- heads -----------------------------------------------------------------------------------------


def _field_name(text: str, op: str) -> bytes:
    if not _TOKEN.fullmatch(text):
        raise RuleError(f"has the header {text!r}: it is one word of letters, digits and -")
    if not is_editable(op, text.encode()):
        raise RuleError(
            f"changes the header {text}, which says where a message ends or belongs to the"
            " connection: the proxy writes it"
        )
    return text.encode()


def _value(text: str) -> bytes:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        raise RuleError(f"has the value {text!r}: control characters may not stand there")
    return _bytes(text)


def _header(action: Action, op: str) -> Callable[[Line], Rule]:
    def make(line: Line) -> Rule:
        name = _field_name(line.take("a header's name"), op)
        return Rule(action, name=name, format=line.format("a value"))

    return make


def _del_header(line: Line) -> Rule:
    """`del-header NAME [-m str|beg|end|sub|reg]`: a test of names where there is a -m."""
    text = line.take("a header's name")
    if not line.take_if("-m"):
        return Rule(Action.A_DEL_HEADER, name=_field_name(text, "del"))
    method = line.take("a matching method")
    if method not in ("str", "beg", "end", "sub", "reg"):
        raise RuleError(f"has -m {method}: one of str, beg, end, sub, reg")
    test = parse_test(["str(x)", "-i", "-m", method, "--", text], line.side, line.names)
    return Rule(Action.A_DEL_HEADER, test=test)


def _replace(action: Action) -> Callable[[Line], Rule]:
    """`replace-header NAME regex format`; test: the regex, `\\1` in the format is its group."""

    def make(line: Line) -> Rule:
        name = _field_name(line.take("a header's name"), "set")
        regex = line.take("a regular expression")
        check_regex(regex, False)
        test = parse_test(["str(x)", "-m", "reg", "--", regex], line.side, line.names)
        return Rule(action, name=name, test=test, format=line.format("a replacement"))

    return make


def _replace_target(action: Action) -> Callable[[Line], Rule]:
    def make(line: Line) -> Rule:
        regex = line.take("a regular expression")
        test = parse_test(["str(x)", "-m", "reg", "--", regex], line.side, line.names)
        return Rule(action, test=test, format=line.format("a replacement"))

    return make


def _formatted(action: Action, what: str) -> Callable[[Line], Rule]:
    return lambda line: Rule(action, format=line.format(what))


# -- variables, tracking, priorities -------------------------------------------------------------


def _set_var(line: Line) -> Rule:
    """`set-var(txn.x) expression`; a: the variable."""
    number = line.names.variable(line.take("a variable: set-var(txn.x)"))
    return Rule(Action.A_SET_VAR, a=number, expression=line.expression("an expression"))


def _unset_var(line: Line) -> Rule:
    return Rule(Action.A_UNSET_VAR, a=line.names.variable(line.take("a variable")))


def _sc_number(text: str) -> int:
    number = number_of(text, "its number")
    if number >= TRACKED_MAX:
        raise RuleError(f"has sc{number}: a request tracks at most sc0 to sc{TRACKED_MAX - 1}")
    return number


def _track(line: Line) -> Rule:
    """`track-sc0 KEY table T`; a: the counter, b: the table."""
    number = _sc_number(line.take("its number: track-sc0"))
    key = line.expression("a key, such as `src`")
    if not line.take_if("table"):
        raise RuleError("needs `table NAME`: one of `stick_tables`")
    name = line.take("a table's name")
    table = line.names.table(name)
    return Rule(Action.A_TRACK, expression=key, a=number, b=table)


def _sc_inc(line: Line) -> Rule:
    return Rule(Action.A_SC_INC_GPC0, a=_sc_number(line.take("its number: sc-inc-gpc0(0)")))


def _priority(action: Action, most: int) -> Callable[[Line], Rule]:
    """An expression; numbers beyond `most` are cut when it is used."""

    def make(line: Line) -> Rule:
        return Rule(action, expression=line.expression("an expression: int(5)"), a=most)

    return make


def _set_timeout(line: Line) -> Rule:
    """`set-timeout server 5s`, or an expression in milliseconds."""
    which = line.take("`server` or `tunnel`")
    actions = {"server": Action.A_TIMEOUT_SERVER, "tunnel": Action.A_TIMEOUT_TUNNEL}
    if which not in actions:
        raise RuleError(f"has {which!r}: the timeouts that a rule may set are server and tunnel")
    text = line.take("a time such as 5s")
    found = re.fullmatch(r"([0-9]{1,9})(us|ms|s|m|h|d)?", text)
    if not found:
        return Rule(actions[which], expression=parse_expression(text, line.side, line.names))
    factor = {None: 1, "us": 0, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    ms = int(found[1]) * factor[found[2]]
    if not 1 <= ms <= _TIMEOUT_MAX_MS:
        raise RuleError(f"has the time {text}: from 1ms to 24d")
    return Rule(actions[which], a=ms)


_TIMEOUT_MAX_MS = 24 * 86_400_000  # as HAProxy's: 31 bits of milliseconds


def _set_src(line: Line) -> Rule:
    return Rule(Action.A_SET_SRC, expression=line.expression("an expression: req.hdr_ip(x)"))


_BOTH: Mapping[str, Callable[[Line], Rule]] = {
    "allow": _plain(Action.A_ALLOW),
    "return": _return,
    "redirect": _redirect,
    "set-header": _header(Action.A_SET_HEADER, "set"),
    "add-header": _header(Action.A_ADD_HEADER, "add"),
    "del-header": _del_header,
    "replace-header": _replace(Action.A_REPLACE_HEADER),
    "replace-value": _replace(Action.A_REPLACE_VALUE),
    "set-var": _set_var,
    "unset-var": _unset_var,
    "sc-inc-gpc0": _sc_inc,
}
ACTIONS: Mapping[Side, Mapping[str, Callable[[Line], Rule]]] = {
    "request": {
        **_BOTH,
        "deny": _deny,
        "tarpit": _tarpit,
        "reject": _plain(Action.A_REJECT),
        "silent-drop": _plain(Action.A_SILENT_DROP),
        "set-path": _formatted(Action.A_SET_PATH, "a path"),
        "set-pathq": _formatted(Action.A_SET_PATHQ, "a path with a query"),
        "set-query": _formatted(Action.A_SET_QUERY, "a query"),
        "set-uri": _formatted(Action.A_SET_URI, "a path with a query"),
        "replace-path": _replace_target(Action.A_REPLACE_PATH),
        "replace-uri": _replace_target(Action.A_REPLACE_URI),
        "set-method": _formatted(Action.A_SET_METHOD, "a method"),
        "set-src": _set_src,
        "track-sc": _track,
        "set-priority-class": _priority(Action.A_PRIORITY_CLASS, _PRIORITY_CLASS_MAX),
        "set-priority-offset": _priority(Action.A_PRIORITY_OFFSET, _PRIORITY_OFFSET_MAX_MS),
        "disable-l7-retry": _plain(Action.A_DISABLE_L7_RETRY),
        "set-timeout": _set_timeout,
    },
    "response": {**_BOTH, "deny": _deny_response},
}
