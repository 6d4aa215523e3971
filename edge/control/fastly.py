"""Fastly's own control interface on the admin address: so far its purges.

    POST  /service/{id}/purge           keys: {"surrogate_keys": [...]}, or a Surrogate-Key header
    POST  /service/{id}/purge/{key}     one key
    POST  /service/{id}/purge_all       everything, always hard
    POST  /purge/{url}                  one URL, with or without its scheme
    PURGE /{url}                        the same, as older clients send it

`Fastly-Key` must be a token of the service; it is looked at before anything else of the request,
and without it nothing is read or purged. `Fastly-Soft-Purge` makes objects stale instead. Clients
send bodies without Content-Type and requests without Content-Length; both are taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from edge.purging.access import Access, is_soft
from edge.purging.answers import (
    ALL_PURGED,
    KEYS_MAX,
    NO_SUCH_SERVICE,
    UNAUTHORISED,
    Answer,
    PurgeIds,
    key_purged,
    keys_purged,
    purged,
    refused,
)
from edge.purging.asked import KEY_BYTES_MAX, PurgeError, keys_of, keys_of_path, url_of
from edge.purging.target import Target

# The longest keys in the largest number, twice over for JSON's quotes and escapes.
BODY_BYTES_MAX = 2 * KEYS_MAX * KEY_BYTES_MAX

Handler = Callable[[web.Request], Awaitable[Answer]]


class PurgeApi:
    """The purges of one service's cache."""

    def __init__(self, target: Target, access: Access, ids: PurgeIds) -> None:
        self._target = target
        self._access = access
        self._ids = ids

    def add_to(self, router: web.UrlDispatcher) -> None:
        for method, path, handler in (
            ("POST", "/service/{service}/purge", self._purge_keys),
            ("POST", "/service/{service}/purge/{key:.+}", self._purge_key),
            ("POST", "/service/{service}/purge_all", self._purge_all),
            ("POST", "/purge/{url:.*}", self._purge_url),
            ("PURGE", "/{url:.*}", self._purge_url),
        ):
            router.add_route(method, path, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                found = self._denial(request) or await handler(request)
            except PurgeError as error:
                found = refused(str(error))
            return web.Response(
                status=found.status,
                body=found.body,
                content_type="application/json",
                headers=found.fields,
            )

        return answer

    def _denial(self, request: web.Request) -> Answer | None:
        if not self._access.knows(request.raw_headers):
            return UNAUTHORISED
        service_id = request.match_info.get("service")
        if service_id is not None and not self._access.is_service(service_id):
            return NO_SUCH_SERVICE
        return None

    async def _purge_keys(self, request: web.Request) -> Answer:
        body = await _read(request)
        if body is None:
            return refused(f"The body is longer than {BODY_BYTES_MAX} bytes", 413)
        headers = [value for name, value in request.raw_headers if name.lower() == b"surrogate-key"]
        keys = keys_of(headers, body)
        self._target.purge_keys(keys, soft=is_soft(request.raw_headers))
        return keys_purged({key: self._ids.next() for key in keys})

    async def _purge_key(self, request: web.Request) -> Answer:
        prefix = f"/service/{request.match_info['service']}/purge/"
        keys = keys_of_path(request.rel_url.raw_path.removeprefix(prefix))
        self._target.purge_keys(keys, soft=is_soft(request.raw_headers))
        return key_purged(self._ids.next())

    async def _purge_all(self, _request: web.Request) -> Answer:
        self._target.purge_all()
        return ALL_PURGED

    async def _purge_url(self, request: web.Request) -> Answer:
        # As sent: with PURGE, and through a proxy, it is the URL itself.
        url = url_of(request.raw_path.removeprefix("/purge/" if request.method == "POST" else "/"))
        self._target.purge_url(url.host, url.path, soft=is_soft(request.raw_headers))
        return purged(self._ids.next())


async def _read(request: web.Request) -> bytes | None:
    """The body; None when it is too long."""
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)
