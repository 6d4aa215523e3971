"""The rows of `show stat`: a frontend, its servers, the backend, for each proxy.

What is 0 here without being counted cannot happen in edge: no rule denies or intercepts, the tier
compresses and caches nothing. What edge could count and does not (maxima of queues and sessions,
averages over 1024 requests, downtimes) is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.control.haproxy.formats import BACKEND, FRONTEND, PROCESS_NUMBER, SERVER, Row, Value
from edge.control.haproxy.rates import Rate, Rates
from edge.control.haproxy.snapshot import Proxy, Server
from edge.health.checks import CheckStatus
from edge.health.messages import CHECK_TEXTS
from edge.settings.address import join_address
from edge.settings.balance import read_balance
from ext.limits import AdminState

ANY = -1
TYPE_BITS = {FRONTEND: 1, BACKEND: 2, SERVER: 4}
MS_PER_S = 1000
AGENT_RISE = AGENT_FALL = 1  # HAProxy's DEF_AGENT_RISETIME, DEF_AGENT_FALLTIME: one word decides

# Where nothing is parsed HAProxy leaves these out, and its frontend has seen no request.
NO_REQUESTS = dict.fromkeys(("req_rate", "req_rate_max", "req_tot"), 0)
RESPONSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
ONLY_HTTP = frozenset(
    {"intercepted", "cache_lookups", "cache_hits"}
    | NO_REQUESTS.keys()
    | {f"hrsp_{each}" for each in RESPONSES}
)
NEVER_DENIED = dict.fromkeys(("dreq", "dresp"), 0)
NEVER_DONE = dict.fromkeys(
    ("comp_in", "comp_out", "comp_byp", "comp_rsp", "cache_lookups", "cache_hits", "wrew"), 0
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: HAProxy's `<iid> <type> <sid>`, `up` and `no-maint`."""

    proxy_id: int = ANY
    type_bits: int = ANY
    server_id: int = ANY
    hides_down: bool = False
    hides_maint: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """When rows are made, and what was counted per second up to then.

    `wall_s`: unix time. `now_s`: monotonic. `shows_legends`: addresses and algorithms, which
    HAProxy keeps from level user.
    """

    rates: Rates
    wall_s: float
    now_s: float
    shows_legends: bool = True


def stat_rows(proxies: list[Proxy], wanted: Wanted, moment: Moment) -> list[Row]:
    """The rows in HAProxy's order."""
    rows: list[Row] = []
    for proxy in proxies:
        if wanted.proxy_id not in (ANY, proxy.id):
            continue
        if wanted.type_bits & TYPE_BITS[FRONTEND] and proxy.plan.frontend is None:
            rows.append(_frontend(proxy, moment))
        if wanted.type_bits & TYPE_BITS[SERVER]:
            rows += [
                _server(proxy, server, moment)
                for server in proxy.servers
                if _is_wanted(server, wanted)
            ]
        if wanted.type_bits & TYPE_BITS[BACKEND]:
            rows.append(_backend(proxy, moment, counts=wanted.hides_down or wanted.hides_maint))
    return [_of_tcp(row) if row["mode"] == "tcp" else row for row in rows]


def _of_tcp(row: Row) -> Row:
    kept = {name: value for name, value in row.items() if name not in ONLY_HTTP}
    return kept | NO_REQUESTS if row["type"] == FRONTEND else kept


def _is_wanted(server: Server, wanted: Wanted) -> bool:
    if wanted.server_id not in (ANY, server.id):
        return False
    in_maintenance = server.view.admin is AdminState.MAINT
    if wanted.hides_maint and in_maintenance:
        return False
    is_coming_up = server.checks is not None and server.health > 0
    is_coming_up &= not (server.agent is not None and server.view.health.agent_is_down)
    return not wanted.hides_down or (not in_maintenance and (server.is_running or is_coming_up))


def counts_of(proxies: list[Proxy]) -> dict[str, int]:
    """What rates are made of, for `Rates.look`."""
    counts = {}
    for proxy in proxies:
        for name in ("connections", "requests"):
            counts[f"{proxy.name} {name}"] = proxy.view.counters[name]
        for server in proxy.servers:
            counts[server.plan.key] = server.view.counters["requests"]
    return counts


def _frontend(proxy: Proxy, moment: Moment) -> Row:
    counters = proxy.view.counters
    connections = moment.rates.of(f"{proxy.name} connections")
    requests = moment.rates.of(f"{proxy.name} requests")
    return {
        **_head(proxy, "FRONTEND", 0, FRONTEND),
        **NEVER_DENIED,
        **NEVER_DONE,
        **_responses(counters),
        "scur": counters["connections_open"],
        "stot": counters["connections"],
        "bin": counters["bytes_in"],
        "bout": counters["bytes_out"],
        "ereq": counters["request_errors"],
        "status": "OPEN",
        **_rate("rate", connections),
        "rate_lim": 0,
        **_rate("req_rate", requests),
        "req_tot": counters["requests"],
        **_rate("conn_rate", connections),
        "conn_tot": counters["connections"],
        "intercepted": 0,
        "dcon": 0,
        "dses": 0,
    }


def _backend(proxy: Proxy, moment: Moment, *, counts: bool) -> Row:
    counters = proxy.view.counters
    requests = moment.rates.of(f"{proxy.name} requests")
    is_up = proxy.weight > 0 or not proxy.servers
    status = "UP" if is_up else "DOWN"
    if counts:
        status += f" ({sum(each.is_running for each in proxy.servers)}/{len(proxy.servers)})"
    accepted = counters["requests"] - counters["request_errors"]
    algorithm = read_balance(proxy.settings.balance).algorithm
    legends: dict[str, Value] = {"algo": algorithm} if moment.shows_legends else {}
    return {
        **_head(proxy, "BACKEND", 0, BACKEND),
        **NEVER_DENIED,
        **NEVER_DONE,
        **_responses(counters),
        "qcur": counters["queued"],
        "scur": counters["in_flight"],
        "stot": accepted,
        "bin": counters["bytes_in"],
        "bout": counters["bytes_out"],
        "econ": proxy.total("connect_errors") + counters["no_server"] + counters["queue_timeouts"],
        "eresp": proxy.total("response_errors"),
        "wretr": counters["retries"],
        "wredis": counters["redispatches"],
        "status": status,
        "weight": proxy.weight,
        "act": len(proxy.active),
        "bck": len(proxy.backups),
        "lbtot": proxy.total("requests"),
        **_rate("rate", requests),
        "req_tot": accepted,
        "cli_abrt": counters["client_aborts"],
        "srv_abrt": proxy.total("server_aborts"),
        **_last_event(requests, accepted, moment),
        "connect": proxy.total("connects", "connect_errors"),
        "reuse": proxy.total("reuses"),
        "uweight": proxy.user_weight,
        **legends,
    }


def _server(proxy: Proxy, server: Server, moment: Moment) -> Row:
    view, counters = server.view, server.view.counters
    requests = moment.rates.of(server.plan.key)
    is_backup = server.plan.backup
    legends: dict[str, Value] = {}
    if moment.shows_legends and server.plan.address is not None:
        legends["addr"] = join_address(server.host, server.port)
    if view.throttle is not None:
        legends["throttle"] = view.throttle
    legends |= _limits(server)
    return {
        **_head(proxy, server.plan.name, server.id, SERVER),
        **_responses(counters),
        "dresp": 0,
        "wrew": 0,
        "qcur": counters["queued"],
        "scur": counters["in_flight"],
        "stot": counters["requests"],
        "bin": counters["bytes_in"],
        "bout": counters["bytes_out"],
        "econ": counters["connect_errors"],
        "eresp": counters["response_errors"],
        "wretr": counters["retries"],
        "wredis": counters["redispatches"],
        "status": view.status,
        "weight": view.weight,
        "act": int(not is_backup),
        "bck": int(is_backup),
        "lastchg": max(0, int(moment.wall_s - view.since)),
        "lbtot": counters["requests"],
        **_rate("rate", requests),
        "req_tot": counters["requests"],
        "cli_abrt": counters["client_aborts"],
        "srv_abrt": counters["server_aborts"],
        **_last_event(requests, counters["requests"], moment),
        "connect": counters["connects"] + counters["connect_errors"],
        "reuse": counters["reuses"],
        "srv_icur": counters["connections_idle"],
        "used_conn_cur": max(0, counters["connections_open"] - counters["connections_idle"]),
        "uweight": view.user_weight,
        **_checks(server),
        **_agent(server),
        **legends,
    }


def _limits(server: Server) -> dict[str, Value]:
    limits: dict[str, Value] = {}
    if server.maxconn:
        limits["slim"] = server.maxconn
    if server.plan.maxqueue:
        limits["qlimit"] = server.plan.maxqueue
    return limits


def _checks(server: Server) -> Row:
    """The columns of a server that is checked; its result is hidden during maintenance."""
    checks = server.checks
    if checks is None:
        return {}
    row: dict[str, Value] = {
        "chkfail": checks.failures,
        "chkdown": checks.times_down,
    }
    if checks.spec.on_error is not None:
        row["hanafail"] = checks.times_observed
    if server.view.admin is AdminState.MAINT:
        return row
    status = server.view.check_status or "INI"
    thresholds = checks.spec.thresholds
    row |= {
        "check_status": status,
        "check_desc": CHECK_TEXTS[CheckStatus(status)],
        "check_rise": thresholds.rise,
        "check_fall": thresholds.fall,
        "check_health": server.health,
        "last_chk": "",
    }
    last = checks.last
    if last is not None and last.status.value == status:
        row["last_chk"] = last.info
        if last.status is not CheckStatus.HANA:  # it was no check
            row["check_duration"] = int(last.duration_s * MS_PER_S)
        if last.code is not None:
            row["check_code"] = last.code
    return row


def _agent(server: Server) -> Row:
    """The columns of a server whose agent is asked. Its rise and fall are 1."""
    if server.agent is None:
        return {}
    last = server.agent.last
    status = CheckStatus.INI if last is None else last.status
    row: dict[str, Value] = {
        "agent_status": status.value,
        "agent_desc": CHECK_TEXTS[status],
        "last_agt": "" if last is None else last.info,
        "agent_duration": 0 if last is None else int(last.duration_s * MS_PER_S),
        "agent_rise": AGENT_RISE,
        "agent_fall": AGENT_FALL,
        "agent_health": int(not server.view.health.agent_is_down),
    }
    if last is not None and last.code is not None:
        row["agent_code"] = last.code
    return row


def _head(proxy: Proxy, name: str, server_id: int, kind: int) -> dict[str, Value]:
    return {
        "pxname": proxy.name,
        "svname": name,
        "pid": PROCESS_NUMBER,
        "iid": proxy.id,
        "sid": server_id,
        "type": kind,
        "mode": "tcp" if proxy.plan.kind == "tcp" else "http",
    }


def _responses(counters: Mapping[str, int]) -> dict[str, Value]:
    return {f"hrsp_{each}": counters[f"responses_{each}"] for each in RESPONSES}


def _rate(name: str, rate: Rate | None) -> dict[str, Value]:
    return {} if rate is None else {name: rate.rate, f"{name}_max": rate.rate_max}


def _last_event(rate: Rate | None, count: int, moment: Moment) -> dict[str, Value]:
    """Seconds since the last request, -1 without one; absent when this process missed it."""
    if count == 0:
        return {"lastsess": -1}
    if rate is None or rate.last_event_at is None:
        return {}
    return {"lastsess": int(moment.now_s - rate.last_event_at)}
