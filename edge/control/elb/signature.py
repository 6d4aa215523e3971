"""AWS's Signature Version 4, as far as it takes to know that a request is from who knows a secret.

AWS's clients sign with a secret access key and cannot send a bearer token. So with `admin.token`
that token is their secret access key, under any key id, region and service name: the scope is part
of what is signed, and taken as the client says it. Without a token nothing is verified.

A signature older or younger than five minutes is refused, as at AWS, so one that was overheard is
of little use. Called by: the ELBv2 API. Pure: the clock is passed in.

Source: AWS General Reference, "Create a signed AWS API request".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qsl, quote

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S_MAX = 300.0
AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=([^/, ]{{1,128}})/([0-9]{{8}})/([^/, ]{{1,64}})/([^/, ]{{1,64}})"
    r"/aws4_request, ?SignedHeaders=([a-z0-9;-]{1,1024}), ?Signature=([0-9a-f]{64})"
)


def is_signed(
    secret: str,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
) -> bool:
    """Whether the request bears a good signature by `secret`. `now`: unix seconds."""
    match = AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if match is None:
        return False
    _, day, region, service, signed, signature = match.groups()
    moment = headers.get("X-Amz-Date", "")
    names = signed.split(";")
    if not _is_recent(moment, now) or not moment.startswith(day) or "host" not in names:
        return False
    digest = sha256(body).hexdigest()
    fields = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
    asked = "\n".join([method, quote(path or "/"), _query(query), fields, signed, digest])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, moment, scope, sha256(asked.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature)


def _is_recent(moment: str, now: float) -> bool:
    try:
        at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return False
    return abs(at - now) <= SKEW_S_MAX


def _query(query: str) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return "&".join(f"{name}={value}" for name, value in pairs)
