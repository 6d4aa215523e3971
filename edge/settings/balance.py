"""How a server is chosen: HAProxy's `balance` and `hash-type`, in HAProxy's own words.

Each is one line of text in the file, as behind the keyword in haproxy.cfg, because that is what an
operator copies from there: `balance: hdr(Host) use_domain_only`, `hash_type: consistent djb2`. The
text stays as it is in the settings; `read_balance` and `read_hash_type` make values of it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.json_schema import JsonSchemaValue

from edge.settings.document import nearest
from edge.settings.scalars import Form, shown

ALGORITHMS = (
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "source",
    "uri",
    "url_param",
    "hdr",
    "random",
)
HASHED = frozenset({"source", "uri", "url_param", "hdr"})
METHODS: dict[str, Literal["map-based", "consistent"]] = {
    "map-based": "map-based",
    "consistent": "consistent",
}
FUNCTIONS = ("sdbm", "djb2", "wt6", "crc32")
DRAWS_MAX = 100  # more find the least loaded server, which `leastconn` does better
URI_BYTES_MAX = 65_536  # of a target; as `limits.request_line`
URI_DEPTH_MAX = 255  # directories; as many as a path of HAProxy's buffer sensibly has
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
_UNSUPPORTED = {"hash": "hash <expression>", "rdp-cookie": "rdp-cookie", "log-hash": "log-hash"}


@dataclass(frozen=True, slots=True)
class Balance:
    """What a `balance` line says. `length`, `depth`: of the URI; 0: all of it."""

    algorithm: str
    name: str = ""
    draws: int = 2
    whole: bool = False
    path_only: bool = False
    domain_only: bool = False
    length: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True)
class HashType:
    """What a `hash_type` line says."""

    method: Literal["map-based", "consistent"] = "map-based"
    function: str = "sdbm"
    avalanche: bool = False


def read_balance(text: str) -> Balance:
    """The values of a `balance` line; ValueError says what would be right."""
    words = text.split()
    match = re.fullmatch(r"([a-z_-]+)(?:\(([^()]*)\))?", words[0] if words else "")
    if match is None or match[1] not in ALGORITHMS:
        raise ValueError(_unknown(match[1] if match else text, text))
    algorithm, argument, rest = match[1], match[2], words[1:]
    if argument is not None and algorithm not in ("hdr", "random"):
        raise ValueError(f"{algorithm} takes nothing in brackets, not {shown(text)}")
    if algorithm == "uri":
        return _read_uri(rest)
    if algorithm == "hdr":
        return _read_header(argument, rest)
    if algorithm == "url_param":
        return _read_url_param(rest)
    if rest:
        raise ValueError(f"{algorithm} takes no further words, not {shown(' '.join(rest))}")
    if argument is None:
        return Balance(algorithm)
    return Balance(algorithm, draws=_number(argument, "random(N): N", DRAWS_MAX))


def read_hash_type(text: str) -> HashType:
    """The values of a `hash_type` line; ValueError says what would be right."""
    words = text.split()
    method = METHODS.get(words[0] if words else "")
    if method is None:
        raise ValueError(f"must begin with map-based or consistent, not {shown(text)}")
    rest = words[1:]
    # As at HAProxy: a ring needs the avalanche, and who names a function decides himself.
    if not rest:
        return HashType(method, avalanche=method == "consistent")
    if rest[0] not in FUNCTIONS:
        raise ValueError(f"its function must be one of {', '.join(FUNCTIONS)}, not {rest[0]!r}")
    if rest[1:] not in ([], ["avalanche"]):
        raise ValueError(f"behind the function only `avalanche` may stand, not {shown(text)}")
    return HashType(method, rest[0], avalanche=len(rest) == 2)


def is_static(balance: str, hash_type: str) -> bool:
    """Does a server get its whole weight or nothing? HAProxy refuses to set others at run time."""
    algorithm = read_balance(balance).algorithm
    if algorithm in HASHED:
        return read_hash_type(hash_type).method == "map-based"
    return algorithm == "static-rr"


def _unknown(word: str, text: str) -> str:
    if word in _UNSUPPORTED:
        return f"`{_UNSUPPORTED[word]}` is not supported; use one of {', '.join(ALGORITHMS)}"
    close = nearest(word, ALGORITHMS)
    hint = f"; did you mean {close}?" if close else ""
    return f"must be one of {', '.join(ALGORITHMS)}, not {shown(text)}{hint}"


def _read_uri(words: list[str]) -> Balance:
    options: dict[str, Any] = {}
    at = iter(words)
    for word in at:
        if word in ("whole", "path-only"):
            options[word.replace("-", "_")] = True
        elif word == "len":
            options["length"] = _number(next(at, ""), "uri len N: N", URI_BYTES_MAX)
        elif word == "depth":
            options["depth"] = _number(next(at, ""), "uri depth N: N", URI_DEPTH_MAX)
        else:
            raise ValueError(f"uri takes whole, path-only, len N and depth N, not {shown(word)}")
    return Balance("uri", **options)


def _read_header(name: str | None, words: list[str]) -> Balance:
    if not re.fullmatch(_NAME, name or ""):
        raise ValueError("hdr needs the name of a header field in brackets: hdr(Host)")
    if words not in ([], ["use_domain_only"]):
        raise ValueError(f"hdr takes use_domain_only, not {shown(' '.join(words))}")
    return Balance("hdr", name=name or "", domain_only=bool(words))


def _read_url_param(words: list[str]) -> Balance:
    if "check_post" in words[1:]:
        raise ValueError("url_param with check_post is not supported: bodies are never searched")
    if len(words) != 1 or not re.fullmatch(r"[!-~]{1,64}", words[0]):
        raise ValueError("url_param needs the name of one parameter: url_param userid")
    return Balance("url_param", name=words[0])


def _number(text: str, what: str, maximum: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= maximum:
        raise ValueError(f"{what} must be a whole number from 1 to {maximum}, not {shown(text)}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Line(Form):
    """A line that `read` understands, kept as text with single spaces."""

    read: Callable[[str], object]
    pattern: str

    def parse(self, value: object) -> str:
        """The text; ValueError if it cannot be read."""
        text = " ".join(value.split()) if isinstance(value, str) else ""
        self.read(text if isinstance(value, str) else shown(value))
        return text

    def json_forms(self) -> list[JsonSchemaValue]:
        """A string that begins right; the rest is checked when the file is loaded."""
        return [{"type": "string", "pattern": self.pattern}]


BALANCE = Line(read_balance, rf"^({'|'.join(ALGORITHMS)})([ (].*)?$")
HASH_TYPE = Line(read_hash_type, r"^(map-based|consistent)( .*)?$")
