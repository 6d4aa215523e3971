"""`edge purge`: asks a running edge to purge its cache, as Fastly's command line asks Fastly.

It talks to the admin address, in the same requests that a shop sends to Fastly, so what works here
works there. Address, service and token come from the configuration file that edge runs, or one by
one from options and the environment; an option wins over the file, the file over the environment,
whose FASTLY_API_TOKEN may be meant for Fastly itself.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from edge.errors import EdgeError
from edge.settings import load
from edge.settings.address import join_address, split_address

ADMIN_DEFAULT = "127.0.0.1:9180"
# The names of Fastly's own command line.
TOKEN_VARIABLE = "FASTLY_API_TOKEN"
SERVICE_VARIABLE = "FASTLY_SERVICE_ID"
KEYS_MAX = 256  # keys in one request, Fastly's limit
ANSWER_S_MAX = 10.0  # as Fastly's module for Magento waits
ANSWER_BYTES_MAX = 2**21  # 256 keys of 1,024 bytes, each byte escaped, and their ids


class PurgeError(EdgeError):
    """The purge was not carried out, or not all of it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be purged: one of the three."""

    url: str | None = None
    keys: tuple[str, ...] = ()
    all: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """Whom to ask, and as whom. `service_id` is not needed for a URL."""

    host: str
    port: int
    token: str
    service_id: str | None


def find_access(
    config: str | None,
    *,
    admin: str | None,
    token: str | None,
    service_id: str | None,
    environment: Mapping[str, str],
) -> Access:
    """The first of option, file and environment that says it. EdgeError when none does."""
    of_file = _from_file(config) if config is not None else {}
    token = token or of_file.get("token") or environment.get(TOKEN_VARIABLE)
    if not token:
        where = f"{config} has no `cdn.service.tokens`" if config else "no CONFIG"
        raise PurgeError(f"no token: {where}, and there is no --token or {TOKEN_VARIABLE}")
    address = admin or of_file.get("admin")
    if address is None and config is not None:
        raise PurgeError(f"{config} has no `admin`, which purges are sent to: add it, or --admin")
    service_id = service_id or of_file.get("service_id") or environment.get(SERVICE_VARIABLE)
    return Access(*_parts(address or ADMIN_DEFAULT), token, service_id)


def _from_file(config: str) -> dict[str, str | None]:
    """Raises ConfigError when the file is bad, PurgeError when it has no cache."""
    settings = load(config)
    if settings.cdn is None:
        raise PurgeError(f"{config} has no `cdn`, so there is no cache")
    service = settings.cdn.service
    return {
        "admin": None if settings.admin is None else settings.admin.listen,
        "token": service.tokens[0] if service is not None and service.tokens else None,
        "service_id": None if service is None else service.id,
    }


def _parts(address: str) -> tuple[str, int]:
    """Host and port; a listener for every address is reached at its own spelling, too."""
    try:
        return split_address(address.removeprefix("http://").removesuffix("/"))
    except ValueError as error:
        raise PurgeError(f"--admin {error}") from None


def purge(wish: Wish, access: Access) -> Iterator[str]:
    """Carries it out; one line for each thing that is purged, as it is."""
    verb = "soft-purged" if wish.soft else "purged"
    if wish.url is not None:
        # Bytes of the command line that are no text are kept as they are.
        url = quote(wish.url, safe="", errors="surrogateescape")
        answer = _ask(access, f"/purge/{url}", soft=wish.soft)
        yield f"{verb} URL {wish.url}, id {answer.get('id')}"
        return
    if access.service_id is None:
        raise PurgeError(f"no service: give CONFIG, --service-id or {SERVICE_VARIABLE}")
    path = f"/service/{quote(access.service_id, safe='')}"
    if wish.all:
        _ask(access, f"{path}/purge_all")
        yield "purged all"
        return
    for first in range(0, len(wish.keys), KEYS_MAX):
        keys = wish.keys[first : first + KEYS_MAX]
        answer = _ask(access, f"{path}/purge", {"surrogate_keys": keys}, soft=wish.soft)
        for key, purge_id in answer.items():
            yield f"{verb} key {key}, id {purge_id}"


def _ask(
    access: Access, path: str, content: Mapping[str, Any] | None = None, *, soft: bool = False
) -> dict[str, Any]:
    """One request; the JSON object that granted it. PurgeError says why not."""
    fields = {"Fastly-Key": access.token, "Accept": "application/json", "Connection": "close"}
    if soft:
        fields["Fastly-Soft-Purge"] = "1"
    if content is not None:
        fields["Content-Type"] = "application/json"
    where = join_address(access.host, access.port)
    connection = http.client.HTTPConnection(access.host, access.port, timeout=ANSWER_S_MAX)
    try:
        body = b"" if content is None else json.dumps(content).encode()
        connection.request("POST", path, body, fields)
        answer = connection.getresponse()
        found = _object_of(answer.read(ANSWER_BYTES_MAX))
    except http.client.HTTPException as error:
        name = type(error).__name__
        raise PurgeError(f"{where} does not answer as an admin interface: {name}") from None
    except TimeoutError:
        raise PurgeError(f"{where} gave no answer within {ANSWER_S_MAX:g}s") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise PurgeError(f"{where} cannot be reached: {reason}; is edge running?") from None
    except ValueError:  # its text would show the token
        raise PurgeError("the token has characters that no header can carry") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        said = [found[key] for key in ("msg", "detail", "reason") if found.get(key)]
        words = ": ".join(map(str, said)) or answer.reason
        raise PurgeError(f"{where} refused with {answer.status}: {words}")
    return found


def _object_of(body: bytes) -> dict[str, Any]:
    """What edge does not answer itself, as a 404 without a cdn, may be no JSON."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
