"""The ELBv2 API (2015-12-01) on the admin address, for AWS's own clients with another endpoint.

There is one load balancer and one target group, both called `edge`. Actions that only describe
need no signature, as nothing on the admin address that reads needs one. Those that change are for
who signs with `admin.token` as the secret access key (`signature`), or sends it as a bearer;
without a token for programs of this machine (`edge.control.guard`).

    POST /    Action=DescribeTargetHealth&Version=2015-12-01&TargetGroupArn=...
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from edge.clock import wall
from edge.control.elb.actions import Actions
from edge.control.elb.signature import is_signed
from edge.control.elb.xml import ApiError, answer, parameters, refusal
from edge.control.guard import Guard

VERSION = "2015-12-01"
BODY_BYTES_MAX = 262_144  # a thousand targets with all of their fields
PARAMETERS_MAX = 10_000


class ElbApi:
    """The routes. `token`: `admin.token`, None without one."""

    def __init__(self, actions: Actions, guard: Guard, token: str | None) -> None:
        self._actions = actions
        self._guard = guard
        self._token = token

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/", self._post)

    async def _post(self, request: web.Request) -> web.Response:
        request_id = str(uuid.uuid4())
        try:
            body = await _read(request)
            text = self._obey(request, body, request_id)
            status = 200
        except ApiError as error:
            text, status = refusal(error, request_id), error.status
        return web.Response(
            status=status,
            body=text.encode(),
            content_type="text/xml",
            headers={"x-amzn-RequestId": request_id},
        )

    def _obey(self, request: web.Request, body: bytes, request_id: str) -> str:
        asked = _asked(body)
        action = asked.pop("Action", None)
        if asked.pop("Version", VERSION) != VERSION:
            raise ApiError("NoSuchVersion", f"The only version is {VERSION}")
        if not isinstance(action, str):
            raise ApiError("MissingAction", "The request has no Action")
        actions: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = self._actions.reading
        if action in self._actions.changing:
            self._refuse_strangers(request, body)
            actions = self._actions.changing
        if action not in actions:
            message = f"The action {action} is not valid for this web service"
            raise ApiError("InvalidAction", message)
        return answer(action, actions[action](asked), request_id)

    def _refuse_strangers(self, request: web.Request, body: bytes) -> None:
        if self._token is not None and is_signed(
            self._token,
            request.method,
            request.path,
            request.query_string,
            request.headers,
            body,
            wall(),
        ):
            return
        denial = self._guard.denial(request)
        if denial is None:
            return
        if self._token is None:
            raise ApiError("AccessDenied", str(denial.text), 403)
        raise ApiError(
            "SignatureDoesNotMatch",
            "Sign with the `admin.token` of the file as the secret access key",
            403,
        )


def _asked(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=PARAMETERS_MAX,
        )
    except ValueError:
        raise ApiError("MalformedInput", "The body is no form (x-www-form-urlencoded)") from None
    return parameters(pairs)


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise ApiError("ValidationError", f"The body is longer than {BODY_BYTES_MAX} bytes")
    return bytes(body)
