"""Who may change the state of a running edge through the admin address.

With `admin.token`: who sends it as `Authorization: Bearer TOKEN`. Without: programs of this machine
only. A page in a browser of this machine comes from it as well, so what a browser sends on behalf
of a page, known by its `Origin` or `Sec-Fetch-Site`, is refused then. Reading needs nothing.
"""

from __future__ import annotations

import hmac
import ipaddress

from aiohttp import web

SCHEME = "bearer"  # RFC 6750, in lower case: the name of a scheme has no case
BROWSER_FIELDS = ("Origin", "Sec-Fetch-Site")


class Guard:
    """`token` is `admin.token`, None without one."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def denial(self, request: web.Request) -> web.Response | None:
        """The answer to who may not, or None to who may."""
        if self._token is not None:
            if self._is_known(request.headers.get("Authorization", "")):
                return None
            return refusal(
                401,
                "needs `Authorization: Bearer` with the `admin.token` of the file",
                {"WWW-Authenticate": 'Bearer realm="edge"'},
            )
        if not is_loopback(request.remote):
            return refusal(403, "without `admin.token` only this machine may change anything")
        if any(name in request.headers for name in BROWSER_FIELDS):
            return refusal(403, "without `admin.token` a browser may not change anything")
        return None

    def _is_known(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        known = (self._token or "").encode()
        given = token.strip().encode(errors="surrogateescape")
        return scheme.lower() == SCHEME and hmac.compare_digest(given, known)


def is_loopback(remote: str | None) -> bool:
    """Whether a peer's address is this machine's own."""
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1
    return (mapped or address).is_loopback


def refusal(status: int, why: str, fields: dict[str, str] | None = None) -> web.Response:
    """A refused request's answer, in the form of all of them."""
    return web.json_response({"error": why}, status=status, headers=fields)
