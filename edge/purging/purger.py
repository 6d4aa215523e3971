"""`PURGE` on the site itself: one URL, all its variants.

A worker has one Purger per cdn tier; the request's steps call it with what they have parsed and
send what it returns. It answers at once: the objects are out of reach before the answer is written.
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable

from edge.clock import wall
from edge.purging.access import GRANTED, NO_CREDENTIALS, Access, Fields, is_soft
from edge.purging.answers import UNAUTHORISED, Answer, PurgeIds, purged
from edge.purging.target import Target
from ext.answers import build_answer

_CDN = 0  # TierKind in ext/upstream.pxd: whose error pages 403 and 410 are
_REASONS = {200: "OK", 401: "Unauthorized"}


class Purger:
    """Called with host, path (with its query) and header fields; returns a whole answer.

    `close`: the connection ends with it, and it says so.
    """

    def __init__(
        self,
        target: Target,
        access: Access,
        ids: PurgeIds,
        *,
        served_by: str,
        now_s: Callable[[], float] = wall,
    ) -> None:
        self._target = target
        self._access = access
        self._ids = ids
        self._served_by = served_by
        self._now_s = now_s

    def __call__(self, host: bytes, path: bytes, fields: Fields, close: bool = False) -> bytes:
        now_s = self._now_s()
        status = self._access.judge_url_purge(fields, path, now_s)
        if status == NO_CREDENTIALS:
            return self._http(UNAUTHORISED, now_s, close)
        if status != GRANTED:
            return build_answer(_CDN, status, close=close)
        self._target.purge_url(host, path, soft=is_soft(fields))
        return self._http(purged(self._ids.next()), now_s, close)

    def _http(self, answer: Answer, now_s: float, close: bool) -> bytes:
        fields = (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(answer.body))),
            *answer.fields,
            ("Date", email.utils.formatdate(now_s, usegmt=True)),
            ("X-Served-By", self._served_by),
            *((("Connection", "close"),) if close else ()),
        )
        lines = [f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}"]
        lines += [f"{name}: {value}" for name, value in fields]
        return "\r\n".join([*lines, "", ""]).encode() + answer.body
