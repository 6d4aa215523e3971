"""ACLs and conditions: `acl` lines, `{ ... }` in a condition, `if A B or !C` (manual, section 7.1).

A condition is a list of suites: it holds if one of them does, and a suite if all its terms do. A
term is an ACL, maybe negated; an ACL is a list of tests, since lines with the same name are or-ed.
A sample with several values (a header) passes a test if one of them matches one of its patterns; a
sample that is not there passes none.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.rules.samples import (
    Expression,
    Names,
    Side,
    check_regex,
    fetch_names,
    known,
    number_of,
    parse_expression,
)
from edge.rules.words import RuleError, split_words
from ext.rulecodes import Match, SampleType

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_MAPPED = bytes(10) + b"\xff\xff"

IntRange = tuple[int, int]
Network = tuple[bytes, int]  # an address of 16 bytes (IPv4 as mapped) and its prefix in bits


@dataclass(frozen=True, slots=True)
class Test:
    """An expression that must match one of the patterns."""

    expression: Expression
    match: Match
    ignores_case: bool = False
    texts: tuple[bytes, ...] = ()
    ranges: tuple[IntRange, ...] = ()
    networks: tuple[Network, ...] = ()

    __test__ = False  # no test of pytest's


Acl = tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Term:
    acl: Acl
    negated: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """`unless`: holds when none of the suites does."""

    suites: tuple[tuple[Term, ...], ...]
    unless: bool = False


_MATCHES = {
    "found": Match.M_FOUND,
    "bool": Match.M_BOOL,
    "int": Match.M_INT,
    "ip": Match.M_IP,
    "str": Match.M_STR,
    "beg": Match.M_BEG,
    "end": Match.M_END,
    "sub": Match.M_SUB,
    "dir": Match.M_DIR,
    "dom": Match.M_DOM,
    "reg": Match.M_REG,
    "len": Match.M_LEN,
}
_DEFAULT = {
    SampleType.T_BOOL: Match.M_BOOL,
    SampleType.T_INT: Match.M_INT,
    SampleType.T_TEXT: Match.M_STR,
    SampleType.T_ADDRESS: Match.M_IP,
}
_WITHOUT_PATTERNS = (Match.M_FOUND, Match.M_BOOL)
# The matches that the older keywords carry in their names: `path_beg`, `hdr_dom`, `cook_reg`, ...
_ALIAS = re.compile(r"([a-z.]+?(?:_param)?)_(beg|end|sub|dir|dom|reg|len)(?=[(,]|$)")

PREDEFINED: Mapping[str, str] = {
    "TRUE": "always_true",
    "FALSE": "always_false",
    "HTTP": "always_true",
    "HTTP_1.0": "req.ver 1.0",
    "HTTP_1.1": "req.ver 1.1",
    "HTTP_CONTENT": "req.hdr_val(content-length) gt 0",
    "HTTP_URL_SLASH": "url_beg /",
    "LOCALHOST": "src 127.0.0.1/8 ::1",
    "METH_CONNECT": "method CONNECT",
    "METH_DELETE": "method DELETE",
    "METH_GET": "method GET HEAD",
    "METH_HEAD": "method HEAD",
    "METH_OPTIONS": "method OPTIONS",
    "METH_POST": "method POST",
    "METH_PUT": "method PUT",
    "METH_TRACE": "method TRACE",
    "WAIT_END": "always_true",
}


class Acls:
    """The named ACLs of a section, as its lines say; what a use of them reads is checked there."""

    def __init__(self) -> None:
        self._lines: dict[str, list[list[str]]] = {}

    def add(self, line: str) -> str:
        """The name of the `acl` line that is added."""
        words = split_words(line)
        if len(words) < 2:
            raise RuleError("must be written `name criterion [flags] values`")
        name, *rest = words
        if not _NAME.fullmatch(name):
            raise RuleError(f"has the name {name!r}: use letters, digits and - _ . :")
        if name in ("or", "if", "unless"):
            raise RuleError(f"has the name {name!r}, which is a word of conditions")
        self._lines.setdefault(name, []).append(rest)
        return name

    def find(self, name: str, side: Side, names: Names) -> Acl:
        lines = self._lines.get(name)
        if lines is None and name in PREDEFINED:
            lines = [split_words(PREDEFINED[name])]
        if lines is None:
            raise RuleError(f"names the acl {name!r}; {known(name, [*self._lines, *PREDEFINED])}")
        return tuple(parse_test(words, side, names) for words in lines)


def check_acl(line: str, names: Names) -> None:
    """Whether an `acl` line can be used on one side at least."""
    words = split_words(line)[1:]
    try:
        parse_test(words, "request", names)
    except RuleError as error:
        try:
            parse_test(words, "response", names)
        except RuleError:
            raise error from None


# -- conditions ------------------------------------------------------------------------------------


def parse_condition(words: list[str], side: Side, acls: Acls, names: Names) -> Condition | None:
    """What follows a rule: nothing, or a condition."""
    if not words:
        return None
    word, *rest = words
    if word not in ("if", "unless"):
        raise RuleError(f"goes on with {word!r}: only `if` or `unless` may follow here")
    return Condition(_suites(rest, side, acls, names), unless=word == "unless")


def _suites(words: list[str], side: Side, acls: Acls, names: Names) -> tuple[tuple[Term, ...], ...]:
    suites: list[list[Term]] = [[]]
    negated = False
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        while word.startswith("!"):
            negated = not negated
            word = word[1:]
        if not word:
            continue
        if word in ("or", "||"):
            if negated or not suites[-1]:
                raise RuleError("has an `or` with nothing in front of it")
            suites.append([])
            continue
        if word == "{":
            end = _closing_brace(words, at)
            acl: Acl = (parse_test(words[at:end], side, names),)
            at = end + 1
        else:
            acl = acls.find(word, side, names)
        suites[-1].append(Term(acl, negated))
        negated = False
    if negated or not suites[-1]:
        raise RuleError("has a condition that ends too early: an acl or `{ ... }` must follow")
    return tuple(tuple(suite) for suite in suites)


def _closing_brace(words: list[str], at: int) -> int:
    for end in range(at, len(words)):
        if words[end] == "}":
            return end
    raise RuleError("has a { without its }, which must stand alone between blanks")


# -- tests -----------------------------------------------------------------------------------------


def parse_test(words: list[str], side: Side, names: Names) -> Test:
    """`criterion [flags] [operator] values`."""
    if not words:
        raise RuleError("has an empty acl: write `{ path_beg /api }`, for example")
    text, method = _without_alias(words[0], side)
    expression = parse_expression(text, side, names)
    ignores_case = False
    values: list[str] = []
    at = 1
    while at < len(words) and words[at].startswith("-") and len(words[at]) > 1:
        flag = words[at]
        at += 1
        if flag == "--":
            break
        if flag == "-i":
            ignores_case = True
        elif flag in ("-m", "-f"):
            if at >= len(words):
                raise RuleError(f"has the flag {flag} without its value")
            if flag == "-m":
                method = _match_of(words[at])
            else:
                values += read_values(words[at])
            at += 1
        elif flag == "-n":
            pass  # names are never resolved
        elif re.fullmatch(r"-[0-9]+(:.*)?", flag):
            at -= 1
            break
        else:
            raise RuleError(f"has the flag {flag}: there are -i, -m, -f, -n and --")
    values += words[at:]
    match = method if method is not None else _DEFAULT[expression.kind]
    if expression.fetch == expression.fetch.F_VAR and method is None and not expression.converters:
        match = Match.M_STR if values else Match.M_BOOL
    return _with_patterns(expression, match, ignores_case, values)


def _without_alias(word: str, side: Side) -> tuple[str, Match | None]:
    """`path_beg` is `path -m beg`."""
    fetch = re.split(r"[(,]", word, maxsplit=1)[0]
    found = _ALIAS.match(word)
    if found is None or fetch in fetch_names(side):
        return word, None
    return found[1] + word[found.end() :], _MATCHES[found[2]]


def _match_of(word: str) -> Match:
    if word not in _MATCHES:
        raise RuleError(f"has -m {word}; {known(word, _MATCHES)}")
    return _MATCHES[word]


def read_values(path: str) -> list[str]:
    """The lines of a file of `-f`, without blank ones and comments."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise RuleError(f"cannot read {path!r}: {error.strerror}") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _with_patterns(
    expression: Expression, match: Match, ignores_case: bool, values: list[str]
) -> Test:
    if match in _WITHOUT_PATTERNS:
        if values:
            raise RuleError(f"has {values[0]!r}, but -m {match.name[2:].lower()} takes no values")
        return Test(expression, match)
    if not values:
        raise RuleError("has no value to compare with: give one, or `-m found`")
    if match in (Match.M_INT, Match.M_LEN):
        return Test(expression, match, ranges=tuple(_ranges(values)))
    if match is Match.M_IP:
        return Test(expression, match, networks=tuple(map(_network, values)))
    if match is Match.M_REG:
        for value in values:
            check_regex(value, ignores_case)
    texts = tuple(value.encode("utf-8", "surrogateescape") for value in values)
    return Test(expression, match, ignores_case, texts)


def _ranges(values: list[str]) -> list[IntRange]:
    """`5`, `1:10`, `:80`, `gt 3`; an operator holds for all values behind it."""
    ranges: list[IntRange] = []
    operator = "eq"
    for value in values:
        if value in ("eq", "ge", "gt", "le", "lt"):
            operator = value
            continue
        low, colon, high = value.partition(":")
        if colon:
            if operator != "eq":
                raise RuleError(f"has the range {value} behind `{operator}`: a range stands alone")
            first = number_of(low, "the range") if low else _INT_MIN
            last = number_of(high, "the range") if high else _INT_MAX
            ranges.append((first, last))
            continue
        number = number_of(value, "the value")
        ranges.append(
            {
                "eq": (number, number),
                "ge": (number, _INT_MAX),
                "gt": (number + 1, _INT_MAX),
                "le": (_INT_MIN, number),
                "lt": (_INT_MIN, number - 1),
            }[operator]
        )
    if not ranges:
        raise RuleError(f"has `{operator}` without a number")
    return ranges


def _network(value: str) -> Network:
    try:
        network = ipaddress.ip_network(_with_dots(value), strict=False)
    except ValueError:
        raise RuleError(f"has {value!r}: write an address or a network (10.0.0.0/8)") from None
    packed = network.network_address.packed
    if network.version == 4:
        return _MAPPED + packed, 96 + network.prefixlen
    return packed, network.prefixlen


def _with_dots(value: str) -> str:
    """HAProxy fills up `10/8` with zeros."""
    address, slash, prefix = value.partition("/")
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", address) and slash:
        address += ".0" * (3 - address.count("."))
    return address + slash + prefix
