"""Who a cdn says that it is in the fields that it adds to requests, as Fastly-FF.

An edge and its shield must recognise each other, and nobody else may pass for one of them: what a
client of the second kind gets to see is Surrogate-*. So a service is a keyed hash of its id. Pure.
"""

import hmac
from base64 import b64encode
from typing import Any

from edge.settings.cdn import Cdn


def fastly_options(settings: Cdn, node: str, port: int, run_secret: str) -> dict[str, Any]:
    """Key `fastly` of a hop of `ext.forward.Recipe`. `run_secret`: of this `edge run`."""
    # Without a token nobody shares our identity, not even another cdn on this machine; but the
    # sites of one cdn do. They are in one process, and have the address of the first of them.
    service, secret = str(settings.listen or port), run_secret
    if settings.service is not None and settings.service.tokens:
        service, secret = settings.service.id, "\n".join(sorted(settings.service.tokens))
    return {
        "node": node,
        "pop": settings.pop,
        "service_hash": service_hash(service, secret),
        "strict_client_ip": settings.forwarded.strict_client_ip,
        "normal_encodings": settings.policy == "fastly",
    }


def service_hash(service: str, secret: str) -> str:
    """What Fastly-FF calls a service: 44 characters that only who knows `secret` can tell."""
    return b64encode(hmac.digest(secret.encode(), service.encode(), "sha256")).decode()
