"""Asks the admin address of a running edge, or of several, for the commands that operate them.

Where it is comes from options, else from the configuration file that edge runs, else it is
127.0.0.1:9180. The token comes from an option, the file, or EDGE_ADMIN_TOKEN, in this order. Tiers
that run as processes of their own have an admin address each, and all are asked.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import EdgeError
from edge.settings import load
from edge.settings.address import join_address, split_address

ADMIN_DEFAULT = "127.0.0.1:9180"
TOKEN_VARIABLE = "EDGE_ADMIN_TOKEN"
ANSWER_S_MAX = 10.0  # it answers within a millisecond, unless its machine is in trouble
ANSWER_BYTES_MAX = 2**26  # /status with every server and tier that the arena has room for


Pause = Callable[[float], object]


def wait_s(seconds: float) -> None:
    """What `Pause` is outside tests: Ctrl-C ends it."""
    threading.Event().wait(seconds)


class AdminError(EdgeError):
    """The admin interface refused; the text says why."""


class NotThereError(AdminError):
    """The admin interface does not know what it was asked for (404)."""


class UnreachableError(AdminError):
    """Nobody answers there; for a moment that is so while a reload hands the address over."""


class HungUpError(UnreachableError):
    """The connection ended without an answer, as at the moment when an upgrade or a reload hands
    the address to another process."""


@dataclass(frozen=True, slots=True)
class Remote:
    """One admin address, and what makes us known there."""

    host: str
    port: int
    token: str | None

    def __str__(self) -> str:
        return join_address(self.host, self.port)

    def ask(self, method: str, path: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request; the JSON object of its answer. AdminError says why there is none.

        Asked twice when nothing comes back at first: no order does harm when it is given again.
        """
        try:
            return self._ask_once(method, path, given)
        except HungUpError:
            return self._ask_once(method, path, given)

    def _ask_once(self, method: str, path: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
        fields = {"Accept": "application/json", "Connection": "close"}
        if self.token is not None:
            fields["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_S_MAX)
        try:
            body = None if given is None else json.dumps(given)
            connection.request(method, path, body, headers=fields)
            answer = connection.getresponse()
            found = _object_of(answer.read(ANSWER_BYTES_MAX))
        except ConnectionResetError:  # RemoteDisconnected, too
            raise HungUpError(f"{self} hung up without an answer") from None
        except http.client.HTTPException as error:
            name = type(error).__name__
            raise UnreachableError(
                f"{self} does not answer as an admin interface: {name}"
            ) from None
        except TimeoutError:
            raise UnreachableError(f"{self} gave no answer within {ANSWER_S_MAX:g}s") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreachableError(
                f"{self} cannot be reached: {reason}; is edge running?"
            ) from None
        except ValueError:  # its text would show the token
            raise AdminError("the token has characters that no header can carry") from None
        finally:
            connection.close()
        if 200 <= answer.status < 300:
            return found
        kind = NotThereError if answer.status == http.client.NOT_FOUND else AdminError
        why = found.get("error") or answer.reason
        raise kind(f"{self} refused with {answer.status}: {why}")


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def find_remotes(
    config: str | None,
    admins: Sequence[str],
    token: str | None,
    environment: Mapping[str, str],
) -> list[Remote]:
    """Whom to ask. ConfigError when the file is bad, AdminError when it has no `admin`."""
    admin = None if config is None else load(config).admin
    if config is not None and admin is None and not admins:
        raise AdminError(f"{config} has no `admin`, which is what is asked: add it, or --admin")
    in_file = None if admin is None else admin.token
    token = token or in_file or environment.get(TOKEN_VARIABLE) or None
    addresses = list(admins) or [ADMIN_DEFAULT if admin is None else admin.listen]
    return [Remote(*_parts(address), token) for address in addresses]


def _parts(address: str) -> tuple[str, int]:
    try:
        return split_address(address.removeprefix("http://").removesuffix("/"))
    except ValueError as error:
        raise AdminError(f"--admin {error}") from None
