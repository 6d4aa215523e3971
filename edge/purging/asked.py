"""What a purge request asks for: surrogate keys or a URL, in the forms in which clients send them.

Bad input raises PurgeError with a reason for the client; nothing may be purged then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from edge.errors import EdgeError
from edge.purging.answers import KEYS_MAX

KEY_BYTES_MAX = 1_024  # Fastly's limit: a longer one cannot tag an answer
TOO_MANY_KEYS = f"Batch surrogate key request only supports up to {KEYS_MAX} surrogate keys"

_SCHEME = re.compile(r"(https?):/+", re.IGNORECASE)  # some clients fold `//` in a path
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_TARGET = re.compile(r"/[!-~]*")
_TARGET_CHARS = "".join(map(chr, range(ord("!"), ord("~") + 1)))


class PurgeError(EdgeError):
    """A purge request that cannot be carried out; the text is for its sender."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL as the cache sees it: a host as in the Host field, and a path with its query."""

    host: bytes
    path: bytes


def keys_of(headers: Iterable[bytes], body: bytes) -> list[bytes]:
    """The keys of a batch: from Surrogate-Key, from a JSON body, or both. Each once, in order."""
    keys = [key for header in headers for key in header.split()]
    if body:
        keys += _keys_of_body(body)
    if len(keys) > KEYS_MAX:
        raise PurgeError(TOO_MANY_KEYS)
    if not keys:
        raise PurgeError("No surrogate keys: give a Surrogate-Key header or a surrogate_keys list")
    for key in keys:
        check_key(key)
    return list(dict.fromkeys(keys))


def keys_of_path(raw: str) -> list[bytes]:
    """One key from the rest of a path. Fastly takes it as it stands, while most clients encode it:
    both spellings are meant, and an object can have either."""
    keys = [raw.encode(), unquote_to_bytes(raw)]
    for key in keys:
        check_key(key)
    return list(dict.fromkeys(keys))


def check_key(key: bytes) -> None:
    if not key:
        raise PurgeError("A surrogate key is empty")
    if len(key) > KEY_BYTES_MAX:
        raise PurgeError(f"A surrogate key is longer than {KEY_BYTES_MAX} bytes")


def _keys_of_body(body: bytes) -> list[bytes]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PurgeError(f"The body is not JSON: {error}") from None
    keys = given.get("surrogate_keys") if isinstance(given, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise PurgeError('The body must be an object {"surrogate_keys": ["key_1", "key_2"]}')
    return [key.encode(errors="replace") for key in keys]


def url_of(raw: str) -> Url:
    """`www.example.com/a?b`, with or without its scheme, or all of it percent-encoded."""
    scheme, rest = _split_scheme(raw)
    if "%" in rest.partition("/")[0].partition("?")[0]:  # no host has it: the whole is encoded
        decoded = quote(unquote_to_bytes(raw), safe=_TARGET_CHARS)
        scheme, rest = _split_scheme(decoded)
    rest = rest.partition("#")[0]
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    host, path = rest[:end], rest[end:]
    if not path.startswith("/"):
        path = "/" + path
    if not _HOST.fullmatch(host):
        raise PurgeError("No URL: it must be HOST/PATH or SCHEME://HOST/PATH, scheme http or https")
    if not _TARGET.fullmatch(path):
        raise PurgeError("The URL has characters that must be percent-encoded")
    if scheme == "https":
        host = host.removesuffix(":443")
    return Url(host.encode(), path.encode())


def _split_scheme(text: str) -> tuple[str, str]:
    found = _SCHEME.match(text)
    return (found[1].lower(), text[found.end() :]) if found else ("", text)
