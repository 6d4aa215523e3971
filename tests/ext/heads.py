"""Message heads from a few lines of text, and dates relative to one fixed now."""

from datetime import UTC, datetime, timedelta

NOW_S = 1_780_000_000  # Thu, 28 May 2026 20:26:40 GMT
NOW_MS = NOW_S * 1000


def get(*lines: str, method: str = "GET", target: str = "/") -> bytes:
    """A request head; each line is one field."""
    return f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\n".encode() + fields(*lines)


def answer(*lines: str, status: int = 200, minor: int = 1) -> bytes:
    """A response head; each line is one field."""
    return f"HTTP/1.{minor} {status} x\r\n".encode() + fields(*lines)


def fields(*lines: str) -> bytes:
    return b"".join(line.encode("latin-1") + b"\r\n" for line in lines) + b"\r\n"


def http_date(seconds: float, form: str = "%a, %d %b %Y %H:%M:%S GMT") -> str:
    """The date that is `seconds` from NOW_S."""
    return (datetime.fromtimestamp(NOW_S, UTC) + timedelta(seconds=seconds)).strftime(form)


def date(seconds: float) -> str:
    return f"Date: {http_date(seconds)}"


def expires(seconds: float) -> str:
    return f"Expires: {http_date(seconds)}"


def modified(seconds: float) -> str:
    return f"Last-Modified: {http_date(seconds)}"
