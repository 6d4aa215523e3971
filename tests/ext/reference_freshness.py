"""Slow second readings of what ext.dates and ext.cachecontrol read, by other means.

Dates by regular expressions and `datetime`; Cache-Control by regular expressions over members;
dictionaries by a recursive transcription of RFC 8941 §4.2. Kept apart from ext on purpose: nothing
here may be imported from it.
"""

import re
from datetime import UTC, datetime

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SHORT = "|".join(day[:3] for day in DAYS)
MONTH = "|".join(MONTHS)
TIME = r"(?P<time>\d\d:\d\d:\d\d)"
FORMS = [
    re.compile(text, re.IGNORECASE | re.ASCII)
    for text in (
        rf"(?:{SHORT}), (?P<day>\d\d) (?P<month>{MONTH}) (?P<year>\d{{4}}) {TIME} GMT",
        rf"(?:{'|'.join(DAYS)}), (?P<day>\d\d)-(?P<month>{MONTH})-(?P<short>\d\d) {TIME} GMT",
        rf"(?:{SHORT}) (?P<month>{MONTH}) (?P<day>\d\d| \d) {TIME} (?P<year>\d{{4}})",
    )
]
DELTA_MAX = 2**31


def parse_date(text: str, now_s: int) -> int | None:
    """Seconds since the epoch of an HTTP-date of the years 1 to 9999 (RFC 9110 §5.6.7)."""
    for form in FORMS:
        if found := form.fullmatch(text):
            parts = found.groupdict()
            break
    else:
        return None
    month = MONTHS.index(parts["month"].lower()) + 1
    hour, minute, second = map(int, parts["time"].split(":"))
    if second == 60:
        second = 59

    def at(year: int) -> datetime:
        return datetime(year, month, int(parts["day"]), hour, minute, second, tzinfo=UTC)

    try:
        if parts.get("year"):
            return int(at(int(parts["year"])).timestamp())
        return two_digit_year(at, int(parts["short"]), now_s)
    except ValueError:
        return None


def two_digit_year(at, short: int, now_s: int) -> int | None:  # type: ignore[no-untyped-def]
    """Of all years that end so the last that is not more than 50 years ahead."""
    now = datetime.fromtimestamp(now_s, UTC)
    ahead = (now.year + 50, now.month, now.day, now.hour, now.minute, now.second)
    for year in range(now.year + 50, now.year - 51, -1):
        if year % 100 != short:
            continue
        if year == now.year + 50:
            try:
                made = at(year)
            except ValueError:
                return None
            if made.timetuple()[:6] > ahead:
                continue
        return int(at(year).timestamp())
    raise AssertionError("a hundred years hold every pair of digits")


# -- Cache-Control -------------------------------------------------------------------------------

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED = r'"(?:[^"\\]|\\.)*"'
MEMBER = re.compile(rf"(?P<name>{TOKEN})(?:=(?:(?P<quoted>{QUOTED})|(?P<token>(?:{TOKEN})?)))?\Z")
SPLIT = re.compile(rf"((?:{QUOTED}|[^,])*)(?:,|\Z)", re.DOTALL)
FLAGS = {
    "public", "private", "no-cache", "no-store", "no-transform", "must-revalidate",
    "proxy-revalidate", "must-understand", "immutable", "only-if-cached",
}  # fmt: skip
RESTRICTIONS = FLAGS - {"public", "must-understand", "immutable", "only-if-cached"}
NUMBERS = {
    "max-age", "s-maxage", "min-fresh", "max-stale", "stale-while-revalidate", "stale-if-error",
}  # fmt: skip


def directives(line: str) -> dict[str, int | bool]:
    """The directives of one line whose quotes are all closed (RFC 9111 §5.2)."""
    made: dict[str, int | bool] = {}
    at = 0
    while at < len(line):
        found = SPLIT.match(line, at)
        assert found
        at = found.end()
        read_member(found[1].strip(" \t"), made)
    return made


def read_member(text: str, made: dict[str, int | bool]) -> None:
    good = MEMBER.match(text)
    begin = re.match(TOKEN, text)
    name = begin[0].lower() if begin else ""
    if name in made or (not good and name not in RESTRICTIONS | NUMBERS):
        return
    if name in FLAGS:
        made[name] = True
    elif name in NUMBERS:
        value = (good["quoted"] or "").strip('"') or good["token"] if good else None
        if name == "max-stale" and good and "=" not in text:
            made |= {name: DELTA_MAX, "any-stale": True}
        else:
            digits = re.fullmatch(r"[0-9]+", value or "")
            made[name] = min(int(value or 0), DELTA_MAX) if digits else 0


# -- dictionaries of RFC 8941 ----------------------------------------------------------------------

BARE = re.compile(
    r"(?P<decimal>-?\d{1,12}\.\d{1,3}(?![.\d]))|(?P<integer>-?\d{1,15}(?![.\d]))"
    r'|(?P<string>"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*")'
    rf"|(?P<token>[A-Za-z*](?:{TOKEN[:-1]}|[:/])*)"
    r"|(?P<bytes>:[A-Za-z0-9+/=]*:)|(?P<boolean>\?[01])",
    re.ASCII,
)
KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")


class BrokenError(ValueError):
    """Not a dictionary."""


def dictionary(text: str) -> dict[str, tuple[str, str]]:
    """Key -> (kind, text of the value) of one line (RFC 8941 §4.2.2); BrokenError."""
    made: dict[str, tuple[str, str]] = {}
    while True:
        key, text = take(KEY, text)
        value = ("boolean", "?1")
        if text.startswith("=("):
            text = after_inner_list(text[2:])
            value = ("list", "")
        elif text.startswith("="):
            value, text = bare_item(text[1:])
        text = after_parameters(text)
        made[key] = value
        text = text.lstrip(" \t")
        if not text:
            return made
        if text[0] != ",":
            raise BrokenError(text)
        text = text[1:].lstrip(" \t")


def take(form: re.Pattern[str], text: str) -> tuple[str, str]:
    found = form.match(text)
    if not found:
        raise BrokenError(text)
    return found[0], text[found.end() :]


def bare_item(text: str) -> tuple[tuple[str, str], str]:
    found = BARE.match(text)
    if not found or found.lastgroup is None:
        raise BrokenError(text)
    return (found.lastgroup, found[0]), text[found.end() :]


def after_parameters(text: str) -> str:
    while text.startswith(";"):
        _, text = take(KEY, text[1:].lstrip(" "))
        if text.startswith("="):
            _, text = bare_item(text[1:])
    return text


def after_inner_list(text: str) -> str:
    while True:
        text = text.lstrip(" ")
        if text.startswith(")"):
            return text[1:]
        _, text = bare_item(text)
        text = after_parameters(text)
        if text[:1] not in (" ", ")") or not text:
            raise BrokenError(text)


def targeted(text: str) -> dict[str, int | bool] | None:
    """The directives of one line of a targeted field; None: ignore it (RFC 9213 §2.1)."""
    try:
        members = dictionary(text)
    except BrokenError:
        return None
    made: dict[str, int | bool] = {}
    for name, (kind, value) in members.items():
        if name in NUMBERS:
            if kind != "integer" or value.startswith("-"):
                return None
            made[name] = min(int(value), DELTA_MAX)
        elif name in FLAGS:
            if (kind, value) != ("boolean", "?1") and not (
                kind == "string" and name in ("private", "no-cache")
            ):
                return None
            made[name] = True
    return made
