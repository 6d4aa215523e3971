"""The one-value forms of a configuration: durations, sizes, counts, patterned text.

A form is a marker inside `Annotated[...]`. It turns what YAML gives into the value that the program
uses, holds the bounds, and describes itself to the JSON schema, so that the three cannot disagree:

    connect_s: Annotated[float, Duration(0.001, 600)] = 5.0     # `connect: 500ms` or `connect: 0.5`

Invariants: a form's result is accepted by the same form again (settings travel as JSON between
processes); None passes through and is judged by the annotation (`float | None`); every refusal is
a `ValueError` that says what would be right. Pure: no file, no clock.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

# Multiplied or divided so that `500ms` is exactly 0.5: dividing rounds once, times 0.001 twice.
_DURATION_UNITS: Mapping[str, tuple[int, int]] = {
    "us": (1, 1_000_000),
    "ms": (1, 1_000),
    "s": (1, 1),
    "m": (60, 1),
    "h": (3_600, 1),
    "d": (86_400, 1),
}
_SIZE_UNITS: Mapping[str, int] = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_DURATION = r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)"
_SIZE = r"([0-9]+)(B|KiB|MiB|GiB|TiB)"
_SHOWN_CHARS_MAX = 60


def shown(value: object) -> str:
    """A value as an error names it: short, and as it would stand in YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_CHARS_MAX else value[:_SHOWN_CHARS_MAX] + "..."
        return repr(short)
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"


def parse_duration(value: object) -> float:
    """Seconds of `2s`, `500ms`, `1.5m` or a plain number of seconds; ValueError otherwise."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be a duration such as 500ms, 2s or 1m, not {shown(value)}")
    factor, divisor = _DURATION_UNITS[match[2]]
    return float(match[1]) * factor / divisor


def parse_size(value: object) -> int:
    """Bytes of `16KiB`, `256MiB`, `512B` or a plain number of bytes; ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be a size such as 16KiB, 256MiB or 2GiB, not {shown(value)}")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def duration_text(seconds: float) -> str:
    """The shortest YAML form of a duration: 90 -> `90s`, 3600 -> `1h`, 0.5 -> `500ms`.

    Rounded to a microsecond, the smallest unit that there is.
    """
    microseconds = round(seconds * 1_000_000)
    for unit in ("d", "h", "m", "s", "ms"):
        factor, divisor = _DURATION_UNITS[unit]
        count, rest = divmod(microseconds, factor * 1_000_000 // divisor)
        if count and not rest:
            return f"{count}{unit}"
    return f"{microseconds}us" if microseconds else "0s"


def size_text(size_bytes: int) -> str:
    """The shortest YAML form of a size: 16384 -> `16KiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _SIZE_UNITS[unit] == 0:
            return f"{size_bytes // _SIZE_UNITS[unit]}{unit}"
    return f"{size_bytes}B"


class Form(ABC):
    """A marker for `Annotated`; a subclass gives the value and the JSON schemas of its forms."""

    @abstractmethod
    def parse(self, value: object) -> object:
        """The value to keep for a value (never None) from YAML or JSON; ValueError if unfit."""

    @abstractmethod
    def json_forms(self) -> list[JsonSchemaValue]:
        """One JSON schema per way in which the value may be written."""

    def _parse_given(self, value: object) -> object:
        return None if value is None else self.parse(value)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._parse_given, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        forms = self.json_forms()
        inner = schema.get("schema")
        if isinstance(inner, dict) and inner.get("type") == "nullable":
            forms.append({"type": "null"})
        return forms[0] if len(forms) == 1 else {"anyOf": forms}


@dataclass(frozen=True, slots=True)
class Duration(Form):
    """A duration from `min_s` to `max_s` seconds, kept as float seconds."""

    min_s: float
    max_s: float

    def parse(self, value: object) -> float:
        """Seconds; refuses what is out of bounds, infinities and NaN among it."""
        seconds = parse_duration(value)
        if not self.min_s <= seconds <= self.max_s:
            bounds = f"from {duration_text(self.min_s)} to {duration_text(self.max_s)}"
            raise ValueError(f"must be {bounds}, not {shown(value)}")
        return seconds

    def json_forms(self) -> list[JsonSchemaValue]:
        """A number of seconds, or a string with a unit."""
        number = {
            "type": "number",
            "minimum": self.min_s,
            "maximum": self.max_s,
            "x-unit": "seconds",
        }
        return [number, {"type": "string", "pattern": f"^{_DURATION}$"}]


@dataclass(frozen=True, slots=True)
class Size(Form):
    """A size from `min_bytes` to `max_bytes`, kept as whole bytes."""

    min_bytes: int
    max_bytes: int

    def parse(self, value: object) -> int:
        """Bytes; refuses what is out of bounds."""
        size_bytes = parse_size(value)
        if not self.min_bytes <= size_bytes <= self.max_bytes:
            bounds = f"from {size_text(self.min_bytes)} to {size_text(self.max_bytes)}"
            raise ValueError(f"must be {bounds}, not {shown(value)}")
        return size_bytes

    def json_forms(self) -> list[JsonSchemaValue]:
        """A number of bytes, or a string with a unit."""
        bounds = {"minimum": self.min_bytes, "maximum": self.max_bytes, "x-unit": "bytes"}
        return [{"type": "integer", **bounds}, {"type": "string", "pattern": f"^{_SIZE}$"}]


@dataclass(frozen=True, slots=True)
class Count(Form):
    """A whole number of `unit` from `minimum` to `maximum`."""

    minimum: int
    maximum: int
    unit: str

    def parse(self, value: object) -> int:
        """The number; refuses true and false, which are integers to Python alone."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not self.minimum <= value <= self.maximum:  # type: ignore[operator]
            bounds = f"a whole number from {self.minimum} to {self.maximum} ({self.unit})"
            raise ValueError(f"must be {bounds}, not {shown(value)}")
        return value  # type: ignore[return-value]

    def json_forms(self) -> list[JsonSchemaValue]:
        """An integer."""
        bounds = {"minimum": self.minimum, "maximum": self.maximum, "x-unit": self.unit}
        return [{"type": "integer", **bounds}]


@dataclass(frozen=True, slots=True)
class Text(Form):
    """Text that matches `pattern` as a whole; `right` completes "must be ..." for who got it wrong.

    `secret` keeps the value out of the error text, which ends in logs and terminals.
    """

    pattern: str
    right: str
    secret: bool = False

    def parse(self, value: object) -> str:
        """The text, unchanged."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            return value
        got = "" if self.secret else f", not {shown(value)}"
        quotes = "" if isinstance(value, str) else " (put it in quotes to make it text)"
        raise ValueError(f"must be {self.right}{got}{quotes}")

    def json_forms(self) -> list[JsonSchemaValue]:
        """A string with the pattern."""
        return [{"type": "string", "pattern": f"^(?:{self.pattern})$"}]
