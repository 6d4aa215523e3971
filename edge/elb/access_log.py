"""One line of an Application Load Balancer's access log, from the facts of one request.

Fields are in the documented order, separated by single spaces; text that a client or a target wrote
is quoted. What is absent is `-`, and a time that was never reached `-1`. Bytes that could end a
quoted field or a line are escaped as `\\x..`, so a client cannot write a line of its own. Fields
that AWS adds come at the end; a parser must ignore what it does not know.

Pure: who collects the facts and where the line goes is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

NO_TIME = -1.0  # the request did not get that far
ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. Times: `*_at` in unix seconds, `*_s` durations or NO_TIME."""

    time_at: float  # when the answer had been sent
    created_at: float  # when the request arrived
    elb: str
    client: tuple[str, int]
    method: str
    host: str
    listener_port: int
    path: str
    elb_status: int  # 0: the client was gone
    received_bytes: int
    sent_bytes: int
    target: tuple[str, int] | None = None
    request_s: float = NO_TIME  # until it was sent to a target
    target_s: float = NO_TIME  # until the target's head had come
    response_s: float = NO_TIME  # until the client had it
    target_status: int | None = None
    version: str = "HTTP/1.1"
    user_agent: str = ""
    target_group_arn: str = ""
    trace_id: str = ""
    rule_priority: int | None = 0  # 0: the default rule; None: an error before any
    actions: tuple[str, ...] = ("forward",)
    redirect_url: str = ""
    error_reason: str = ""
    classification: str = ""  # Acceptable, Ambiguous, Severe; a compliant request has none
    classification_reason: str = ""
    conn_trace_id: str = ""


def line(entry: Entry) -> str:
    """The line, without its end."""
    target = ABSENT if entry.target is None else address(*entry.target)
    status = ABSENT if entry.target_status is None else str(entry.target_status)
    url = f"http://{entry.host or ABSENT}:{entry.listener_port}{entry.path}"
    fields = [
        "http",
        moment(entry.time_at),
        entry.elb,
        address(*entry.client),
        target,
        seconds(entry.request_s),
        seconds(entry.target_s),
        seconds(entry.response_s),
        ABSENT if entry.elb_status == 0 else str(entry.elb_status),
        status,
        str(entry.received_bytes),
        str(entry.sent_bytes),
        quoted(f"{entry.method or ABSENT} {url} {entry.version or ABSENT}"),
        quoted(entry.user_agent),
        ABSENT,  # ssl_cipher
        ABSENT,  # ssl_protocol
        entry.target_group_arn or ABSENT,
        quoted(entry.trace_id),
        quoted(""),  # domain_name: the SNI of TLS
        quoted(""),  # chosen_cert_arn
        ABSENT if entry.rule_priority is None else str(entry.rule_priority),
        moment(entry.created_at),
        quoted(",".join(entry.actions)),
        quoted(entry.redirect_url),
        quoted(entry.error_reason),
        quoted("" if entry.target is None else target),
        quoted("" if entry.target_status is None else status),
        quoted(entry.classification),
        quoted(entry.classification_reason),
        entry.conn_trace_id or ABSENT,
    ]
    return " ".join(fields)


def address(host: str, port: int) -> str:
    """`192.0.2.1:80`; an IPv6 address has brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def seconds(duration_s: float) -> str:
    """With milliseconds; -1 for what never happened."""
    return "-1" if duration_s < 0 else f"{duration_s:.3f}"


def moment(at: float) -> str:
    """ISO 8601 in UTC with microseconds, as `2026-11-23T18:00:00.000000Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def quoted(text: str) -> str:
    """In quotes; `"-"` for nothing."""
    safe = "".join(
        char if char.isprintable() and char not in '"\\' else _escaped(char) for char in text
    )
    return f'"{safe or ABSENT}"'


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02X}" for byte in char.encode(errors="surrogateescape"))
