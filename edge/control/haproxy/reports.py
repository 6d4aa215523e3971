"""The answers to `show ...` that are not statistics of `show stat`.

Pure: each takes a snapshot and gives HAProxy's text.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

from edge.control.haproxy.columns import SERVERS_STATE_COLUMNS
from edge.control.haproxy.formats import PROCESS_NUMBER, Row
from edge.control.haproxy.rates import Rates
from edge.control.haproxy.snapshot import Proxy, Server, Snapshots
from edge.health.checks import CheckStatus
from ext.limits import AdminState, ServerState

STATE_FILE_VERSION = 1
PRODUCT = "HAProxy"  # clients refuse to talk to anything else
INTERFACE_VERSION = "2.6"
INTERFACE_DATE = "2022/05/31"  # of HAProxy 2.6.0
DAY_S, HOUR_S, MINUTE_S = 86_400, 3_600, 60

# HAProxy's numbers: operational state, admin flags, check results, check states.
STOPPED, STARTING, RUNNING, STOPPING = range(4)
ADMIN_FLAGS = {AdminState.READY: 0, AdminState.MAINT: 0x01, AdminState.DRAIN: 0x08}
NO_RESULT, NEUTRAL, FAILED, PASSED, PASSED_ON_CONDITION = range(5)
CONFIGURED, ENABLED, PAUSED, OF_AGENT = 0x2, 0x4, 0x8, 0x10
CHECK_NUMBERS = {
    "INI": 1,
    "CHECKED": 3,
    "HANA": 4,
    "SOCKERR": 5,
    "L4OK": 6,
    "L4TOUT": 7,
    "L4CON": 8,
    "L6OK": 9,
    "L6TOUT": 10,
    "L6RSP": 11,
    "L7TOUT": 12,
    "L7RSP": 13,
    "L7OK": 15,
    "L7OKC": 16,
    "L7STS": 17,
}


def info_row(snapshots: Snapshots, rates: Rates, wall_s: float) -> Row:
    """`show info`. The process is edge as a whole: its threads are the worker processes."""
    view = snapshots.view
    proxies = snapshots.proxies()

    def total(counter: str) -> int:
        return sum(proxy.view.counters[counter] for proxy in proxies)

    workers = len(view.workers())
    uptime_s = max(0, int(wall_s - view.started_at))
    files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    maxconns = [proxy.settings.max_connections or files_max for proxy in proxies]
    found = [rates.of(f"{proxy.name} connections") for proxy in proxies]
    connections = [rate for rate in found if rate is not None]
    return {
        "Name": PRODUCT,
        "Version": version_text(view.version),
        "Release_date": INTERFACE_DATE,
        "Nbthread": workers,
        "Nbproc": 1,
        "Process_num": PROCESS_NUMBER,
        "Pid": view.supervisor_pid,
        "Uptime": uptime_text(uptime_s),
        "Uptime_sec": uptime_s,
        "Ulimit-n": files_max,
        "Maxsock": files_max,
        "Maxconn": snapshots.maxconn or workers * sum(maxconns),
        "CurrConns": total("connections_open"),
        "CumConns": total("connections"),
        "CumReq": total("requests"),
        "CurrSslConns": 0,
        "CumSslConns": 0,
        "Maxpipes": 0,
        "PipesUsed": 0,
        "PipesFree": 0,
        "ConnRate": sum(rate.rate for rate in connections),
        "ConnRateLimit": 0,
        "MaxConnRate": max((rate.rate_max for rate in connections), default=0),
        # hatop wants them: what is under way; nothing waits to run, since events run at once.
        "Tasks": total("connections_open") + total("in_flight"),
        "Run_queue": 0,
        "node": socket.gethostname(),
        "description": f"edge {view.version}",
        "Stopping": 0,
        "Listeners": snapshots.listener_count,
        "ActivePeers": 0,
        "ConnectedPeers": 0,
        "TotalBytesOut": total("bytes_out"),
        "Build info": version_text(view.version),
        "Start_time_sec": int(view.started_at),
    }


def version_text(own: str) -> str:
    """Which HAProxy this interface is that of, and whose it is."""
    return f"{INTERFACE_VERSION}-edge{own}"


def uptime_text(uptime_s: int) -> str:
    """`1d 2h03m04s`."""
    hours, minutes = uptime_s % DAY_S // HOUR_S, uptime_s % HOUR_S // MINUTE_S
    return f"{uptime_s // DAY_S}d {hours}h{minutes:02}m{uptime_s % MINUTE_S:02}s"


def backends(proxies: list[Proxy]) -> str:
    return "# name\n" + "".join(f"{proxy.name}\n" for proxy in proxies)


def servers_state(proxies: list[Proxy], wall_s: float) -> str:
    """HAProxy's state file, version 1."""
    lines = [str(STATE_FILE_VERSION), SERVERS_STATE_COLUMNS]
    lines += [" ".join(map(str, _state_fields(*each, wall_s))) for each in _servers(proxies)]
    return "".join(f"{line}\n" for line in lines)


def servers_conn(proxies: list[Proxy], workers: int) -> str:
    """Connections to each server; `-` is what edge does not measure or has no limit for."""
    per_thread = f"idle_per_thr[{workers}]"
    lines = [
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est"
        f" unsafe_nb safe_nb idle_lim idle_cur {per_thread}"
    ]
    for proxy, server in _servers(proxies):
        host, port = server.host, server.port
        idle = server.view.counters["connections_idle"]
        used = max(0, server.view.counters["connections_open"] - idle)
        lines.append(
            f"{proxy.name}/{server.plan.name} {proxy.id}/{server.id} {host} {port}"
            f" - - {used} - - - - - {idle}" + " -" * workers
        )
    return "".join(f"{line}\n" for line in lines)


def captured_errors(wall_s: float) -> str:
    """`show errors`: edge keeps no refused messages, so there never is one."""
    at = datetime.fromtimestamp(wall_s, UTC).astimezone()
    stamp = f"{at:%d/%b/%Y:%H:%M:%S}.{at.microsecond // 1000:03}"
    return f"Total events captured on [{stamp}] : 0\n"


def _servers(proxies: list[Proxy]) -> Iterator[tuple[Proxy, Server]]:
    return ((proxy, server) for proxy in proxies for server in proxy.servers)


def _state_fields(proxy: Proxy, server: Server, wall_s: float) -> Iterator[object]:
    host, port = server.host, server.port
    is_name = host[-1:].isalpha() and ":" not in host
    yield from (proxy.id, proxy.name, server.id, server.plan.name, "-" if is_name else host)
    yield _operating(server)
    yield ADMIN_FLAGS[server.view.admin]
    yield from (server.view.user_weight, server.plan.weight)
    yield max(0, int(wall_s - server.view.since))
    yield from _check_fields(proxy, server)
    agent = server.view.agent
    if agent is None:
        yield 0
    else:
        yield OF_AGENT | CONFIGURED | (ENABLED if agent.is_enabled else 0)
    yield from (0, 0)  # no id was forced
    yield host if is_name else "-"
    yield from (port, "-", 0, 0, "-", "-", 0 if agent is None else agent.probe.port)


def _operating(server: Server) -> int:
    if not server.is_running:
        return STOPPED
    if server.state is ServerState.NOLB:
        return STOPPING
    return RUNNING if server.view.throttle is None else STARTING


def _check_fields(proxy: Proxy, server: Server) -> Iterator[int]:
    """Status, result, health and state of the check."""
    checks = server.view.checks
    in_maintenance = server.view.admin is AdminState.MAINT
    status = server.view.check_status or "INI"
    yield CHECK_NUMBERS[status]
    if status == "INI":
        yield NO_RESULT
    elif status == CheckStatus.L7OKC:
        yield PASSED_ON_CONDITION
    else:
        yield PASSED if status.endswith("OK") else FAILED
    yield 0 if in_maintenance else server.health
    if checks is None:
        yield 0
    else:
        enabled = 0 if checks.is_paused else ENABLED
        yield CONFIGURED | enabled | (PAUSED if in_maintenance else 0)
