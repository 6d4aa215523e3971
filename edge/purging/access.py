"""Who may purge: a token of the service in `Fastly-Key`, or for one URL a signed `X-Purge-Token`.

The signed form is the one of Fastly's module for Magento 2, which need not send its key over plain
http then:

    X-Purge-Token: EXPIRY_SIGNATURE      signature = hex HMAC-SHA1(service id, path EXPIRY)

with the expiry in unix seconds and the path without its query. As in the module's VCL, a token of
this form decides alone: a wrong signature is 403, a right one that has expired 410. Without one the
request needs Fastly-Key, else 401. (A service at Fastly asks nobody before a URL purge unless its
VCL says so, which the module's does; here it is always so.)

Secrets are compared in constant time. Two fields of the same name are none: which of them counts
would be a matter of taste.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence

Fields = Sequence[tuple[bytes, bytes]]

GRANTED = 200
NO_CREDENTIALS = 401
BAD_SIGNATURE = 403
EXPIRED = 410

_TOKEN = re.compile(rb"([^_]+)_(.*)", re.DOTALL)
_EXPIRY_DIGITS_MAX = 18  # more is no time, and Python refuses to read thousands


class Access:
    """One service's identity. `service_id` None: there is no service, and nobody may purge."""

    def __init__(self, service_id: str | None = None, tokens: Iterable[str] = ()) -> None:
        self._service_id = None if service_id is None else service_id.encode()
        self._tokens = tuple(token.encode() for token in tokens)

    def is_service(self, service_id: str) -> bool:
        return self._service_id is not None and service_id.encode() == self._service_id

    def knows(self, fields: Fields) -> bool:
        """Whether Fastly-Key is a token of the service."""
        given = only_value(fields, b"fastly-key")
        if self._service_id is None or given is None:
            return False
        # All are compared, so that the time does not tell which one it was.
        return sum(hmac.compare_digest(given, token) for token in self._tokens) > 0

    def judge_url_purge(self, fields: Fields, path: bytes, now_s: float) -> int:
        """GRANTED, or the status that refuses. `path` may have its query; `now_s`: unix time."""
        if self._service_id is None:
            return NO_CREDENTIALS
        token = _TOKEN.fullmatch(only_value(fields, b"x-purge-token") or b"")
        if token is None:
            return GRANTED if self.knows(fields) else NO_CREDENTIALS
        expiry, signature = token.groups()
        message = path.partition(b"?")[0] + expiry
        expected = hmac.new(self._service_id, message, "sha1").hexdigest().encode()
        if not hmac.compare_digest(signature, expected):
            return BAD_SIGNATURE
        return GRANTED if now_s <= _unix_s(expiry) else EXPIRED


def only_value(fields: Fields, name: bytes) -> bytes | None:
    """The value of a field (`name` in lower case); None when it is absent or there are several."""
    values = [value for given, value in fields if given.lower() == name]
    return values[0] if len(values) == 1 else None


def is_soft(fields: Fields) -> bool:
    """Whether objects shall become stale instead of leaving; the field's value does not matter."""
    return any(name.lower() == b"fastly-soft-purge" for name, _ in fields)


def _unix_s(digits: bytes) -> int:
    """What VCL's std.atoi makes of it; 0, which is long past, where it is no number."""
    return int(digits) if digits.isdigit() and len(digits) <= _EXPIRY_DIGITS_MAX else 0
