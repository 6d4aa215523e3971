"""The statistics page on the admin address: `/haproxy?stats`, with HAProxy's options behind `;`.

    ;csv ;json ;typed    the same as the CLI's `show stat`
    ;up ;no-maint        hide servers that are DOWN, or in maintenance
    ;login               asks for the token (HTTP Basic, any user name), then shows the admin form
    &scope=TEXT          only proxies whose names contain the text

Looking needs no token, as everywhere on the admin address. The form is there only where
`admin.token` is set and given, and its POST is refused when another site sent it: a browser adds
what it knows of Basic authentication to any site's requests.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from edge.clock import wall
from edge.control.haproxy import reports
from edge.control.haproxy.changes import Changes, CommandError
from edge.control.haproxy.commands import STAT_FORMS, Commands
from edge.control.haproxy.page import OUTCOMES, Look, render
from edge.control.haproxy.snapshot import Server, find_proxy
from edge.control.haproxy.statistics import Wanted, stat_rows
from ext.limits import AdminState, ServerState

PATH = "/haproxy"
HERE = f"{PATH}?stats"
FORM_BYTES_MAX = 65_536  # the names of a thousand servers
FORMS = {
    "csv": ("", "text/plain"),
    "typed": ("typed", "text/plain"),
    "json": ("json", "application/json"),
}
CHALLENGE = {hdrs.WWW_AUTHENTICATE: 'Basic realm="edge admin"'}

Action = Callable[[Changes, Server], None]
ACTING: dict[str, Action] = {
    "ready": lambda changes, server: changes.set_state(server, AdminState.READY),
    "drain": lambda changes, server: changes.set_state(server, AdminState.DRAIN),
    "maint": lambda changes, server: changes.set_state(server, AdminState.MAINT),
    "dhlth": lambda changes, server: changes.pause_checks(server),
    "ehlth": lambda changes, server: changes.resume_checks(server),
    "hrunn": lambda changes, server: changes.set_health(server, ServerState.UP),
    "hnolb": lambda changes, server: changes.set_health(server, ServerState.NOLB),
    "hdown": lambda changes, server: changes.set_health(server, ServerState.DOWN),
    "dagent": lambda changes, server: changes.enable_agent(server, is_enabled=False),
    "eagent": lambda changes, server: changes.enable_agent(server, is_enabled=True),
    "arunn": lambda changes, server: changes.set_agent(server, "up"),
    "adown": lambda changes, server: changes.set_agent(server, "down"),
}


class Page:
    """The page of one control process. `token` None: nobody may change anything here."""

    def __init__(self, commands: Commands, token: str | None) -> None:
        self._commands = commands
        self._token = token

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get(PATH, self._get)
        router.add_post(PATH, self._post)

    async def _get(self, request: web.Request) -> web.Response:
        options = re.split("[;&]", request.rel_url.raw_query_string)
        if options[0] != "stats":
            raise web.HTTPNotFound(text=f"the statistics are at {HERE}\n")
        is_admin = self._is_admin(request)
        if "login" in options and self._token is not None:
            if not is_admin:
                return web.Response(status=401, headers=CHALLENGE, text="the token is needed\n")
            raise web.HTTPSeeOther(HERE)
        wanted = Wanted(hides_down="up" in options, hides_maint="no-maint" in options)
        snapshots, rates = self._commands.snapshots, self._commands.rates
        rows = stat_rows(snapshots.proxies(), wanted, self._commands.moment(shows_legends=True))
        for option, (form, media_type) in FORMS.items():
            if option in options:
                return _uncached(STAT_FORMS[form](rows), media_type)
        look = Look(
            here=HERE,
            scope=request.rel_url.query.get("scope", ""),
            outcome=next((o[3:] for o in options if o.startswith("st=")), ""),
            is_admin=is_admin,
            has_token=self._token is not None,
        )
        info = reports.info_row(snapshots, rates, wall())
        return _uncached(render(info, rows, look), "text/html")

    async def _post(self, request: web.Request) -> web.Response:
        if self._token is not None and not self._is_admin(request):
            return web.Response(status=401, headers=CHALLENGE, text="the token is needed\n")
        if self._token is None or not _is_from_here(request):
            outcome = "DENY"
        else:
            body = await _read(request)
            outcome = "ERRP" if body is None else self._act(parse_qsl(body))
        assert outcome in OUTCOMES
        raise web.HTTPSeeOther(f"{HERE};st={outcome}")

    def _act(self, fields: Sequence[tuple[str, str]]) -> str:
        """HAProxy's outcome of a form: of several backends or actions the last counts."""
        last = dict(fields)
        proxy = find_proxy(self._commands.snapshots.proxies(), last.get("b", ""))
        acting = ACTING.get(last.get("action", ""))
        if proxy is None or acting is None:
            return "ERRP"
        names = [value for key, value in fields if key == "s"]
        changed = 0
        for name in names:
            server = proxy.server(name)
            if server is None:
                continue
            try:
                acting(self._commands.changes, server)
            except CommandError:
                continue  # it has no check that could be enabled
            changed += 1
        if not names:
            return "NONE"
        if changed == 0:
            return "ERRP"
        return "DONE" if changed == len(names) else "PART"

    def _is_admin(self, request: web.Request) -> bool:
        given = _given_token(request.headers.get(hdrs.AUTHORIZATION, ""))
        return self._token is not None and hmac.compare_digest(given, self._token.encode())


def _given_token(authorization: str) -> bytes:
    """The token of `Bearer TOKEN` or `Basic base64(USER:TOKEN)`; empty when there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _is_from_here(request: web.Request) -> bool:
    """False when a browser says that another site's page sent it (Fetch Metadata, Origin)."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or origin.partition("://")[2] == request.headers.get(hdrs.HOST)


def _uncached(text: str, media_type: str) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: "no-cache"}
    return web.Response(text=text, content_type=media_type, headers=headers)


async def _read(request: web.Request) -> str | None:
    """The form; None when it is too long."""
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > FORM_BYTES_MAX:
            return None
    return body.decode("utf-8", "replace")
