"""Sample expressions: a fetch with its arguments, then converters (configuration manual, 7.3).

    req.hdr(host),lower,field(1,:)

An expression becomes an `Expression` of numbers and bytes. A fetch that reads the request's head is
not known while an answer is on its way, and the other way round: that is an error here, with the
way out that HAProxy's users take (a variable).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

from edge.rules.words import RuleError, closing, split_arguments
from ext.patterns import regex_problem
from ext.rulecodes import Converter, Counter, Fetch, RuleLimit, SampleType

Side = Literal["request", "response", "any"]

_NUMBER = re.compile(r"[-+]?[0-9]{1,18}")
_VARIABLE = re.compile(r"(txn|req|res)\.[A-Za-z0-9_.]{1,64}")
_OCCURRENCES_MAX = 256  # as many fields as a head may have
_HISTORY = 10  # occurrences from the end that can be named: HAProxy's
TRACKED_MAX = int(RuleLimit.TRACKED_MAX)
_VARIABLES_MAX = int(RuleLimit.VARIABLES_MAX)


@dataclass(frozen=True, slots=True)
class Convert:
    """One converter with its arguments."""

    code: Converter
    text: bytes = b""
    other: bytes = b""
    a: int = 0
    b: int = 0


@dataclass(frozen=True, slots=True)
class Expression:
    """A fetch and its converters. `number`: an occurrence, an index, or a constant."""

    fetch: Fetch
    kind: SampleType
    name: bytes = b""
    number: int = 0
    converters: tuple[Convert, ...] = ()


@dataclass(slots=True)
class Names:
    """What lines of one file name in common. Numbers are given in the order of appearance.

    `backends`: the names that may be used, each with the names of its servers.
    """

    backends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    port: int = 0
    variables: dict[str, int] = field(default_factory=dict)

    def variable(self, name: str) -> int:
        if not _VARIABLE.fullmatch(name):
            raise RuleError(f"has the variable {name!r}: write txn.name (letters, digits, . and _)")
        number = self.variables.setdefault(name, len(self.variables))
        if number >= _VARIABLES_MAX:
            raise RuleError(f"names more than {_VARIABLES_MAX} variables")
        return number

    def backend(self, name: str) -> int:
        if name not in self.backends:
            raise RuleError(f"names the backend {name!r}; {known(name, self.backends)}")
        return list(self.backends).index(name)

    def table(self, name: str) -> int:
        if name not in self.tables:
            have = known(name, self.tables) if self.tables else "give it in `stick_tables`"
            raise RuleError(f"names the table {name!r}; {have}")
        return list(self.tables).index(name)


def known(name: str, names: object) -> str:
    """A hint for who has misspelt a name."""
    listed = [str(each) for each in names]  # type: ignore[attr-defined]
    close = get_close_matches(name, listed, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return "there are: " + ", ".join(listed) if listed else "there is none"


# -- arguments -------------------------------------------------------------------------------------

Maker = Callable[[list[str], Names], Expression]


def _count(arguments: list[str], least: int, most: int, usage: str) -> None:
    if not least <= len(arguments) <= most:
        raise RuleError(f"must be written {usage}")


def number_of(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise RuleError(f"has {text!r} for {what}: it is a whole number")
    return int(text)


def _plain(fetch: Fetch, kind: SampleType, number: int = 0) -> Maker:
    def make(arguments: list[str], _names: Names) -> Expression:
        _count(arguments, 0, 0, "without arguments")
        return Expression(fetch, kind, number=number)

    return make


def _named(
    fetch: Fetch, kind: SampleType, *then: Convert, ending: SampleType | None = None
) -> Maker:
    """A fetch by name, with an occurrence that may be left out."""

    def make(arguments: list[str], _names: Names) -> Expression:
        _count(arguments, 1, 2, "(name) or (name,occurrence)")
        number = number_of(arguments[1], "the occurrence") if len(arguments) > 1 else 0
        if not -_HISTORY <= number <= _OCCURRENCES_MAX:
            raise RuleError(f"has the occurrence {number}: from -10 to 256")
        if not arguments[0]:
            raise RuleError("needs a name between its parentheses")
        name = arguments[0].encode()
        return Expression(fetch, ending or kind, name, number, then)

    return make


def _backend(fetch: Fetch, kind: SampleType) -> Maker:
    def make(arguments: list[str], names: Names) -> Expression:
        _count(arguments, 1, 1, "with a backend's name: nbsrv(api)")
        return Expression(fetch, kind, number=names.backend(arguments[0]))

    return make


def _server(fetch: Fetch, kind: SampleType) -> Maker:
    def make(arguments: list[str], names: Names) -> Expression:
        _count(arguments, 1, 1, "with a backend and a server: srv_is_up(api/node1)")
        backend, slash, server = arguments[0].partition("/")
        if not slash:
            raise RuleError(f"has {arguments[0]!r}: write backend/server")
        index = names.backend(backend)
        servers = names.backends[backend]
        if server not in servers:
            raise RuleError(f"names the server {server!r} of {backend}; {known(server, servers)}")
        return Expression(fetch, kind, str(servers.index(server)).encode(), index)

    return make


def _tracked(fetch: Fetch, counter: Counter | None, index: int | None) -> Maker:
    """`sc_x(n)`, or `scN_x` with its number in the name."""

    def make(arguments: list[str], _names: Names) -> Expression:
        number = index
        if number is None:
            _count(arguments, 1, 1, "with the number of what is tracked: sc_http_req_rate(0)")
            number = number_of(arguments[0], "what is tracked")
        else:
            _count(arguments, 0, 0, "without arguments")
        if not 0 <= number < TRACKED_MAX:
            raise RuleError(f"has {number}: a request tracks at most sc0 to sc{TRACKED_MAX - 1}")
        kind = SampleType.T_BOOL if counter is None else SampleType.T_INT
        name = b"" if counter is None else bytes([counter])
        return Expression(fetch, kind, name, number)

    return make


def _constant_int(arguments: list[str], _names: Names) -> Expression:
    _count(arguments, 1, 1, "int(5)")
    return Expression(Fetch.F_INT, SampleType.T_INT, number=number_of(arguments[0], "a number"))


def _constant_bool(arguments: list[str], _names: Names) -> Expression:
    _count(arguments, 1, 1, "bool(true)")
    truth = {"true": 1, "1": 1, "yes": 1, "false": 0, "0": 0, "no": 0}.get(arguments[0].lower())
    if truth is None:
        raise RuleError(f"has {arguments[0]!r}: write true or false")
    return Expression(Fetch.F_BOOL, SampleType.T_BOOL, number=truth)


def _constant_text(arguments: list[str], _names: Names) -> Expression:
    return Expression(Fetch.F_TEXT, SampleType.T_TEXT, ",".join(arguments).encode())


def _port(arguments: list[str], names: Names) -> Expression:
    _count(arguments, 0, 0, "without arguments")
    return Expression(Fetch.F_INT, SampleType.T_INT, number=names.port)


def _rand(arguments: list[str], _names: Names) -> Expression:
    _count(arguments, 0, 1, "rand or rand(range)")
    top = number_of(arguments[0], "the range") if arguments else 2**32
    if not 1 <= top <= 2**32:
        raise RuleError(f"has the range {top}: from 1 to 4294967296")
    return Expression(Fetch.F_RAND, SampleType.T_INT, number=top)


def _var(arguments: list[str], names: Names) -> Expression:
    _count(arguments, 1, 1, "var(txn.name)")
    return Expression(Fetch.F_VAR, SampleType.T_TEXT, number=names.variable(arguments[0]))


_B, _I, _T, _A = SampleType.T_BOOL, SampleType.T_INT, SampleType.T_TEXT, SampleType.T_ADDRESS
_AS_INT, _AS_ADDRESS = Convert(Converter.C_INT), Convert(Converter.C_ADDRESS)

_ANY: dict[str, Maker] = {
    "always_true": _plain(Fetch.F_BOOL, _B, 1),
    "always_false": _plain(Fetch.F_BOOL, _B, 0),
    "bool": _constant_bool,
    "int": _constant_int,
    "str": _constant_text,
    "src": _plain(Fetch.F_SRC, _A),
    "dst_port": _port,
    "ssl_fc": _plain(Fetch.F_BOOL, _B, 0),  # there is no TLS
    "nbsrv": _backend(Fetch.F_NBSRV, _I),
    "srv_is_up": _server(Fetch.F_SRV_IS_UP, _B),
    "srv_conn": _server(Fetch.F_SRV_CONN, _I),
    "be_conn": _backend(Fetch.F_BE_CONN, _I),
    "queue": _backend(Fetch.F_QUEUE, _I),
    "rand": _rand,
    "date": _plain(Fetch.F_DATE, _I),
    "var": _var,
    "stopping": _plain(Fetch.F_STOPPING, _B),
    "sc_tracked": _tracked(Fetch.F_SC_TRACKED, None, None),
    "sc_inc_gpc0": _tracked(Fetch.F_SC_INC_GPC0, Counter.N_GPC0, None),
}
_COUNTERS = {
    "http_req_rate": Counter.N_HTTP_REQ_RATE,
    "http_req_cnt": Counter.N_HTTP_REQ_CNT,
    "http_err_rate": Counter.N_HTTP_ERR_RATE,
    "http_err_cnt": Counter.N_HTTP_ERR_CNT,
    "conn_cur": Counter.N_CONN_CUR,
    "conn_rate": Counter.N_CONN_RATE,
    "conn_cnt": Counter.N_CONN_CNT,
    "get_gpc0": Counter.N_GPC0,
    "gpc0_rate": Counter.N_GPC0_RATE,
}
for _name, _counter in _COUNTERS.items():
    _ANY[f"sc_{_name}"] = _tracked(Fetch.F_SC, _counter, None)
    for _index in range(TRACKED_MAX):
        _ANY[f"sc{_index}_{_name}"] = _tracked(Fetch.F_SC, _counter, _index)

_HEADERS: dict[str, Maker] = {
    "hdr": _named(Fetch.F_HDR, _T),
    "fhdr": _named(Fetch.F_FHDR, _T),
    "hdr_cnt": _named(Fetch.F_HDR_CNT, _I),
    "fhdr_cnt": _named(Fetch.F_FHDR_CNT, _I),
    "hdr_val": _named(Fetch.F_HDR, _T, _AS_INT, ending=_I),
    "hdr_ip": _named(Fetch.F_HDR, _T, _AS_ADDRESS, ending=_A),
    "ver": _plain(Fetch.F_VERSION, _T),
}
_REQUEST: dict[str, Maker] = {
    "method": _plain(Fetch.F_METHOD, _T),
    "path": _plain(Fetch.F_PATH, _T),
    "pathq": _plain(Fetch.F_URL, _T),
    "query": _plain(Fetch.F_QUERY, _T),
    "url": _plain(Fetch.F_URL, _T),
    "base": _plain(Fetch.F_BASE, _T),
    "url_param": _named(Fetch.F_URL_PARAM, _T),
    "urlp": _named(Fetch.F_URL_PARAM, _T),
    "urlp_val": _named(Fetch.F_URL_PARAM, _T, _AS_INT, ending=_I),
    "cook": _named(Fetch.F_COOKIE, _T),
    "cook_val": _named(Fetch.F_COOKIE, _T, _AS_INT, ending=_I),
    "req.cook": _named(Fetch.F_COOKIE, _T),
    "req.cook_val": _named(Fetch.F_COOKIE, _T, _AS_INT, ending=_I),
    "req_ver": _plain(Fetch.F_VERSION, _T),
    **{name: make for name, make in _HEADERS.items() if name != "ver"},
    **{f"req.{name}": make for name, make in _HEADERS.items()},
}
_RESPONSE: dict[str, Maker] = {
    "status": _plain(Fetch.F_STATUS, _I),
    "res.cook": _named(Fetch.F_SET_COOKIE, _T),
    "scook": _named(Fetch.F_SET_COOKIE, _T),
    "resp_ver": _plain(Fetch.F_VERSION, _T),
    **{f"res.{name}": make for name, make in _HEADERS.items()},
    **{f"s{name}": make for name, make in _HEADERS.items() if name.startswith("hdr")},
}


def fetch_names(side: Side) -> dict[str, Maker]:
    if side == "request":
        return _ANY | _REQUEST
    return _ANY | _RESPONSE if side == "response" else _ANY


def is_fetch(name: str) -> bool:
    """On either side."""
    return name in _ANY or name in _REQUEST or name in _RESPONSE


# -- converters ------------------------------------------------------------------------------------


def _convert_text(code: Converter) -> Callable[[list[str]], Convert]:
    def make(arguments: list[str]) -> Convert:
        _count(arguments, 0, 0, "without arguments")
        return Convert(code)

    return make


def _convert_part(code: Converter) -> Callable[[list[str]], Convert]:
    """field(index,delimiters[,count]) and word()."""

    def make(arguments: list[str]) -> Convert:
        _count(arguments, 2, 3, "(index,delimiters) or (index,delimiters,count)")
        index = number_of(arguments[0], "the index")
        count = number_of(arguments[2], "the count") if len(arguments) > 2 else 1
        if index == 0 or not arguments[1] or count < 0:
            raise RuleError("needs an index other than 0, delimiters, and a count of 0 or more")
        return Convert(code, arguments[1].encode(), a=index, b=count)

    return make


def _convert_number(code: Converter) -> Callable[[list[str]], Convert]:
    def make(arguments: list[str]) -> Convert:
        _count(arguments, 1, 1, "with a number")
        number = number_of(arguments[0], "a number")
        if number == 0 and code in (Converter.C_DIV, Converter.C_MOD):
            raise RuleError("divides by 0")
        return Convert(code, a=number)

    return make


def _convert_bytes(arguments: list[str]) -> Convert:
    _count(arguments, 1, 2, "bytes(offset) or bytes(offset,length)")
    start = number_of(arguments[0], "the offset")
    length = number_of(arguments[1], "the length") if len(arguments) > 1 else 2**31
    if start < 0 or length < 0:
        raise RuleError("takes an offset and a length of 0 or more")
    return Convert(Converter.C_BYTES, a=start, b=length)


def _convert_regsub(arguments: list[str]) -> Convert:
    _count(arguments, 2, 3, "regsub(regex,replacement) or with the flags g and i")
    flags = arguments[2] if len(arguments) > 2 else ""
    if set(flags) - {"g", "i"}:
        raise RuleError(f"has the flags {flags!r}: there are g and i")
    check_regex(arguments[0], "i" in flags)
    a = int("i" in flags)
    return Convert(
        Converter.C_REGSUB, arguments[0].encode(), arguments[1].encode(), a, int("g" in flags)
    )


def _convert_url_dec(arguments: list[str]) -> Convert:
    _count(arguments, 0, 1, "url_dec or url_dec(1)")
    inside_query = bool(arguments) and number_of(arguments[0], "in_form") != 0
    return Convert(Converter.C_URL_DEC, a=int(inside_query))


_CONVERTERS: Mapping[str, tuple[SampleType, SampleType, Callable[[list[str]], Convert]]] = {
    "lower": (_T, _T, _convert_text(Converter.C_LOWER)),
    "upper": (_T, _T, _convert_text(Converter.C_UPPER)),
    "field": (_T, _T, _convert_part(Converter.C_FIELD)),
    "word": (_T, _T, _convert_part(Converter.C_WORD)),
    "length": (_T, _I, _convert_text(Converter.C_LENGTH)),
    "url_dec": (_T, _T, _convert_url_dec),
    "regsub": (_T, _T, _convert_regsub),
    "bytes": (_T, _T, _convert_bytes),
    "host_only": (_T, _T, _convert_text(Converter.C_HOST_ONLY)),
    "port_only": (_T, _I, _convert_text(Converter.C_PORT_ONLY)),
    "add": (_I, _I, _convert_number(Converter.C_ADD)),
    "sub": (_I, _I, _convert_number(Converter.C_SUB)),
    "mul": (_I, _I, _convert_number(Converter.C_MUL)),
    "div": (_I, _I, _convert_number(Converter.C_DIV)),
    "mod": (_I, _I, _convert_number(Converter.C_MOD)),
    "not": (_I, _B, _convert_text(Converter.C_NOT)),
    "bool": (_I, _B, _convert_text(Converter.C_BOOL)),
}


def check_regex(pattern: str, ignores_case: bool) -> None:
    problem = regex_problem(pattern.encode(), ignores_case)
    if problem:
        raise RuleError(f"has the regular expression {pattern!r}: {problem}")


# -- expressions -----------------------------------------------------------------------------------


def parse_expression(text: str, side: Side, names: Names) -> Expression:
    """The expression that is the whole of a word."""
    name, arguments, rest = _call(text)
    makers = fetch_names(side)
    if name not in makers:
        raise RuleError(_unknown_fetch(name, side))
    try:
        expression = makers[name](arguments, names)
    except RuleError as error:
        raise RuleError(f"`{name}` {error}") from None
    while rest:
        name, arguments, rest = _call(rest.removeprefix(","))
        if name not in _CONVERTERS:
            raise RuleError(f"has no converter `{name}`; {known(name, _CONVERTERS)}")
        _takes, gives, make = _CONVERTERS[name]
        try:
            converters = (*expression.converters, make(arguments))
        except RuleError as error:
            raise RuleError(f"`{name}` {error}") from None
        expression = replace(expression, kind=gives, converters=converters)
    return expression


def _call(text: str) -> tuple[str, list[str], str]:
    """`name(arguments)rest`; the rest is empty or begins with a comma."""
    at = 0
    while at < len(text) and text[at] not in "(,":
        at += 1
    name = text[:at]
    if text[at : at + 1] != "(":
        return name, [], text[at:]
    end = closing(text, at + 1, ")")
    rest = text[end + 1 :]
    if rest and not rest.startswith(","):
        raise RuleError(f"goes on with {rest!r} behind `{text[: end + 1]}`: it takes a comma")
    return name, split_arguments(text[at + 1 : end]), rest


def _unknown_fetch(name: str, side: Side) -> str:
    other = {"request": _RESPONSE, "response": _REQUEST, "any": _REQUEST | _RESPONSE}[side]
    if name in other:
        where = {"request": "an answer", "response": "a request", "any": "a message"}[side]
        way = "; keep it: http_request `set-var(txn.x) ...`, then `var(txn.x)`"
        return f"`{name}` reads {where}, which is not at hand here" + way * (side == "response")
    return f"has no fetch `{name}`; {known(name, fetch_names(side))}"
