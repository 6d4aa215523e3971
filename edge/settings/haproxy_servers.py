"""How the HAProxy tier treats its servers: limits and queues, reuse, retries, passive health.

Names and meanings are HAProxy's: configuration manual 2.6, sections 4.2 (`fullconn`, `http-reuse`,
`retry-on`, `option redispatch`) and 5.2 (the rest).

deviates: `retry_on` repeats what may have reached a server only for methods that may be repeated
(RFC 9110 §9.2.2); HAProxy, which looks at no method, is `retry_unsafe: true`. `http_reuse: safe`
keeps from kept connections only first requests that cannot be repeated: all others are repeated
where HAProxy would leave that to the client. `redispatch: true` is `option redispatch 1`. A client
over `max_connections` gets 503, where HAProxy lets it wait in the kernel.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from edge.settings.scalars import Count, Duration, Form, shown
from edge.settings.tier import Tier

REDISPATCH_MAX = 100  # as many as there can be retries

RetryClass = Literal[
    "none",
    "conn-failure",
    "empty-response",
    "junk-response",
    "response-timeout",
    "0rtt-rejected",
    "all-retryable-errors",
    401,
    403,
    404,
    408,
    421,
    425,
    429,
    500,
    501,
    502,
    503,
    504,
]


class Redispatch(Form):
    """HAProxy's `option redispatch N`: true is 1, false is 0."""

    def parse(self, value: object) -> int:
        """The N."""
        if isinstance(value, int) and abs(value) <= REDISPATCH_MAX:
            return int(value)
        raise ValueError(
            f"must be true, false, or a whole number from -{REDISPATCH_MAX} to {REDISPATCH_MAX},"
            f" not {shown(value)}"
        )

    def json_forms(self) -> list[JsonSchemaValue]:
        """A truth value or the N."""
        number = {
            "type": "integer",
            "minimum": -REDISPATCH_MAX,
            "maximum": REDISPATCH_MAX,
            "x-unit": "retries",
        }
        return [{"type": "boolean"}, number]


class ServerPolicy(Tier):
    """The keys of `haproxy` that are about its servers."""

    retries: Annotated[
        int,
        Count(0, 100, "attempts after the first"),
        Field(description="How often what `retry_on` names is tried again."),
    ] = 3
    redispatch: Annotated[
        int,
        Redispatch(),
        Field(
            description="Which retries go to another server. true or N: every one, every Nth; -N:"
            " the Nth from the end; false: none. With a number also those of requests that any"
            " server may take, and those whose server is down."
        ),
    ] = 1
    retry_on: Annotated[
        list[RetryClass] | None,
        Field(
            description="What is tried again, as in HAProxy: none, conn-failure, empty-response,"
            " junk-response, response-timeout, 0rtt-rejected, all-retryable-errors, and statuses."
            " Absent: conn-failure and empty-response."
        ),
    ] = None
    retry_unsafe: Annotated[
        bool,
        Field(
            description="Whether `retry_on` also repeats methods that must not be done twice"
            " (POST, PATCH) when a server may have done them. HAProxy does."
        ),
    ] = False
    error_limit: Annotated[
        int,
        Count(0, 1_000_000, "errors in a row"),
        Field(
            description="Without `observe`: failed connects of requests that take a server down at"
            " once. With it: errors after which `on_error` is done. 0: only checks decide."
        ),
    ] = 10
    observe: Annotated[
        Literal["layer4", "layer7"] | None,
        Field(
            description="What of a server's traffic tells of its health: connects, or also answers"
            " (5xx but 501 and 505, invalid, late or missing ones are errors)."
        ),
    ] = None
    on_error: Annotated[
        Literal["fastinter", "fail-check", "sudden-death", "mark-down"],
        Field(
            description="What `observe` does at `error_limit`: check sooner; also count a failed"
            " check; also one that the next failure makes fatal; take the server down."
        ),
    ] = "fail-check"
    on_marked_down: Annotated[
        Literal["shutdown-sessions"] | None,
        Field(
            description="Whether requests that run at a server are cut when its checks take it"
            " down. Absent: they go on."
        ),
    ] = None
    on_marked_up: Annotated[
        Literal["shutdown-backup-sessions"] | None,
        Field(
            description="Whether requests that run at backup servers are cut when a server comes"
            " up. Absent: they go on."
        ),
    ] = None
    server_maxconn: Annotated[
        int,
        Count(0, 1_000_000, "requests"),
        Field(
            description="Most requests at once to a server whose row has no `maxconn`; the others"
            " queue. 0: no limit."
        ),
    ] = 0
    server_minconn: Annotated[
        int,
        Count(0, 1_000_000, "requests"),
        Field(
            description="For servers whose row has no `minconn`: their limit while the tier has"
            " little to do, which grows to `maxconn` at `fullconn`. 0: always `maxconn`."
        ),
    ] = 0
    server_maxqueue: Annotated[
        int,
        Count(0, 1_000_000, "requests"),
        Field(
            description="For servers whose row has no `maxqueue`: most requests that wait for this"
            " one server; more go to another. 0: no limit."
        ),
    ] = 0
    fullconn: Annotated[
        int | None,
        Count(1, 10_000_000, "requests"),
        Field(
            description="Requests in the tier at which its servers get their `maxconn`. Absent: a"
            " tenth of `max_connections`."
        ),
    ] = None
    http_reuse: Annotated[
        Literal["never", "safe", "aggressive", "always"],
        Field(
            description="Which requests may use a connection that another client's request has"
            " used. safe: all but first ones that cannot be repeated; aggressive: these too, where"
            " it has been reused before; always: all; never: none."
        ),
    ] = "safe"
    pool_purge_delay_s: Annotated[
        float,
        Duration(0, 3_600),
        Field(
            description="How often half of the kept connections that were not needed meanwhile are"
            " closed. 0: none is kept. In any case one ends after 4s without a request."
        ),
    ] = 5.0
