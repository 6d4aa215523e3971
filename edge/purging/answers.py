"""What Fastly answers to a purge, to the byte where it is known.

The bodies of 200, their blanks and the ids are as in the recordings of go-fastly; those of 401 and
404 as users report them; 400 for too many keys as in an issue of the Magento module. Two things
differ on purpose: a batch has `Content-Type: application/json`, as Fastly's documentation says and
its machines forget, and the reasons of other bad requests, which nobody has written down, are ours
in the form of the known one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

KEYS_MAX = 256  # keys in one request, Fastly's limit

Field = tuple[str, str]

# What the machines of the cache say, and the ones that only keep account of it.
_CACHE_FIELDS: tuple[Field, ...] = (("Accept-Ranges", "bytes"), ("Via", "1.1 varnish"))
_API_FIELDS: tuple[Field, ...] = (("Cache-Control", "no-store"),)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body, with the fields besides Content-Type and those of any answer."""

    status: int
    body: bytes
    fields: tuple[Field, ...] = _API_FIELDS


class PurgeIds:
    """Ids such as 108-1391560174-974124: a machine, when it began, and a running number.

    `node` tells apart the processes that give ids at one time.
    """

    def __init__(self, node: int, began_s: float) -> None:
        self._prefix = f"{node}-{int(began_s)}"
        self._given = 0

    def next(self) -> str:
        self._given += 1
        return f"{self._prefix}-{self._given}"


UNAUTHORISED = Answer(401, b'{"msg":"Provided credentials are missing or invalid"}')
NO_SUCH_SERVICE = Answer(404, b'{"msg":"Record not found","detail":"Cannot find \'service\'"}')
ALL_PURGED = Answer(200, b'{"status":"ok"}')


def purged(purge_id: str, fields: tuple[Field, ...] = ()) -> Answer:
    """One URL or key."""
    body = f'{{ "status": "ok", "id": "{purge_id}" }}'
    return Answer(200, body.encode(), _CACHE_FIELDS + fields)


def key_purged(purge_id: str) -> Answer:
    """One key by its own path."""
    return purged(purge_id, (("Fastly-Surrogate-Key-Count", "1"),))


def keys_purged(purge_ids: Mapping[bytes, str]) -> Answer:
    """A batch: each key with its id."""
    pairs = ", ".join(f'{_json_text(key)}: "{each}"' for key, each in purge_ids.items())
    count = ("Fastly-Surrogate-Key-Count", str(len(purge_ids)))
    return Answer(200, f"{{ {pairs} }}".encode(), (*_CACHE_FIELDS, count))


def refused(reason: str, status: int = 400) -> Answer:
    """Not understood, or more than is allowed; nothing was purged."""
    body = json.dumps({"status": "fail", "reason": reason}, separators=(",", ":"))
    return Answer(status, body.encode())


def _json_text(key: bytes) -> str:
    # A key from a header may be no UTF-8; the answer must be.
    return json.dumps(key.decode(errors="replace"), ensure_ascii=False)
