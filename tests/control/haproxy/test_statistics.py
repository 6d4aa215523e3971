"""edge.control.haproxy.statistics: which counter stands in which column."""

import csv
from collections.abc import Callable

from edge.health.checks import CheckStatus, Outcome, Verdict
from ext.arena import SERVER_COUNTERS, TIER_COUNTERS
from ext.limits import AdminState, ServerState
from tests.control.conftest import CHAIN, UNCHECKED
from tests.control.haproxy.conftest import Bench

Build = Callable[[str], Bench]

FRONTEND = {
    "scur": "connections_open",
    "stot": "connections",
    "conn_tot": "connections",
    "req_tot": "requests",
    "bin": "bytes_in",
    "bout": "bytes_out",
    "ereq": "request_errors",
    "hrsp_1xx": "responses_1xx",
    "hrsp_5xx": "responses_5xx",
    "hrsp_other": "responses_other",
}
BACKEND = {
    "qcur": "queued",
    "scur": "in_flight",
    "bin": "bytes_in",
    "wretr": "retries",
    "wredis": "redispatches",
    "cli_abrt": "client_aborts",
    "hrsp_2xx": "responses_2xx",
}
SERVER = {
    "scur": "in_flight",
    "stot": "requests",
    "lbtot": "requests",
    "req_tot": "requests",
    "bin": "bytes_in",
    "bout": "bytes_out",
    "econ": "connect_errors",
    "eresp": "response_errors",
    "wretr": "retries",
    "wredis": "redispatches",
    "cli_abrt": "client_aborts",
    "srv_abrt": "server_aborts",
    "reuse": "reuses",
    "srv_icur": "connections_idle",
    "hrsp_4xx": "responses_4xx",
}


def rows(bench: Bench, options: str = "") -> list[dict[str, str]]:
    text = bench.say(f"show stat {options}")
    return list(csv.DictReader(text.removeprefix("# ").splitlines()))


def number(table: tuple[tuple[str, str, str], ...], slot: int, name: str) -> int:
    """What CountingArena counts."""
    return 1000 * slot + [each for each, _, _ in table].index(name) + 1


def test_each_column_has_its_counter(bench: Build) -> None:
    made = bench(UNCHECKED)
    frontend, server, backend = rows(made)
    tier = made.world.job.slots["tiers"]["haproxy"]
    slot = made.world.slot("haproxy/node1")
    for column, counter in FRONTEND.items():
        assert frontend[column] == str(number(TIER_COUNTERS, tier, counter)), column
    for column, counter in BACKEND.items():
        assert backend[column] == str(number(TIER_COUNTERS, tier, counter)), column
    for column, counter in SERVER.items():
        assert server[column] == str(number(SERVER_COUNTERS, slot, counter)), column


def test_sums_of_a_backend(bench: Build) -> None:
    made = bench(UNCHECKED)
    _, server, backend = rows(made)
    tier = made.world.job.slots["tiers"]["haproxy"]
    tried = number(TIER_COUNTERS, tier, "no_server") + number(TIER_COUNTERS, tier, "queue_timeouts")
    assert int(backend["econ"]) == int(server["econ"]) + tried
    assert backend["eresp"] == server["eresp"]
    accepted = number(TIER_COUNTERS, tier, "requests")
    accepted -= number(TIER_COUNTERS, tier, "request_errors")
    assert int(backend["stot"]) == accepted


def test_what_is_not_measured_is_empty(bench: Build) -> None:
    made = bench(CHAIN)
    for row in rows(made):
        unmeasured = ("qmax", "smax", "qtime", "ttime", "rtime_max", "downtime", "throttle", "eint")
        assert {row[name] for name in (*unmeasured, "rate", "h1_bytes_in")} == {""}


def test_every_haproxy_tier_is_a_proxy_with_ids_in_order(bench: Build) -> None:
    found = [(row["pxname"], row["svname"], row["iid"], row["sid"]) for row in rows(bench(CHAIN))]
    assert found == [
        (f"haproxy@node{number}", name, str(number + 1), str(server))
        for number in (1, 2)
        for name, server in (("FRONTEND", 0), ("node1", 1), ("node2", 2), ("BACKEND", 0))
    ]


def test_weights_and_servers_in_use(bench: Build) -> None:
    made = bench(CHAIN)

    def backend() -> tuple[str, ...]:
        row = rows(made, "haproxy@node1 2 -1")[0]
        return tuple(row[name] for name in ("status", "weight", "act", "bck"))

    slot = made.world.slot("haproxy@node1/node1")
    assert backend() == ("UP", "3", "1", "1")
    made.world.arena.set_server(slot, state=ServerState.DOWN, health=0)
    assert backend() == ("UP", "1", "0", "1")  # the backup serves
    other = made.world.slot("haproxy@node1/node2")
    made.world.arena.set_server(other, admin=AdminState.DRAIN)
    assert backend() == ("DOWN", "0", "0", "0")


def test_going_up_is_not_hidden(bench: Build) -> None:
    made = bench(CHAIN)
    slot = made.world.slot("haproxy@node1/node1")
    made.world.arena.set_server(slot, state=ServerState.DOWN, health=0)
    assert [row["svname"] for row in rows(made, "2 4 -1 up")] == ["node2"]
    made.world.arena.set_server(slot, health=1)
    assert [row["status"] for row in rows(made, "2 4 -1 up")] == ["DOWN 1/4", "UP 1/5"]


def test_a_server_that_no_check_has_seen(bench: Build) -> None:
    row = rows(bench(CHAIN), "2 4 1")[0]
    shown = [row[name] for name in ("check_status", "check_desc", "check_rise", "check_health")]
    assert shown == ["INI", "Initializing", "4", "4"]


def test_rates_and_the_last_request(bench: Build) -> None:
    made = bench(UNCHECKED)
    made.commands.rates.look({"haproxy/node1": 0, "haproxy requests": 0}, 0.0)
    made.commands.rates.look({"haproxy/node1": 7, "haproxy requests": 8}, 1.0)
    frontend, server, backend = rows(made)
    assert (server["rate"], server["rate_max"], backend["rate"]) == ("7", "7", "8")
    assert (frontend["req_rate"], frontend["req_rate_max"]) == ("8", "8")
    assert frontend["rate"] == ""
    assert int(server["lastsess"]) >= 0


AGENT = """
haproxy:
  listen: 127.0.0.1:8080
  slowstart: 10s
  health_check: {agent: {port: 9}}
nodes:
  - {name: node1, web: 127.0.0.1:9001, weight: 100, maxconn: 5}
"""


def test_columns_of_an_agent(bench: Build) -> None:
    made = bench(AGENT)
    agent = made.world.runner.servers["haproxy/node1"].agent
    assert agent is not None
    names = ("agent_status", "agent_desc", "agent_code", "agent_rise", "agent_fall", "agent_health")

    def shown() -> list[str]:
        row = rows(made, "2 4 1")[0]
        return [row[name] for name in (*names, "last_agt", "agent_duration")]

    assert shown() == ["INI", "Initializing", "", "1", "1", "1", "", "0"]
    agent.last = Outcome(Verdict.FAILED, CheckStatus.L7STS, 0.0071, 0, "via agent : down")
    made.world.runner.servers["haproxy/node1"].force_agent(is_up=False)
    text = ["L7STS", "Layer7 wrong status", "0", "1", "1", "0", "via agent : down", "7"]
    assert shown() == text
    assert rows(made, "2 4 1")[0]["status"] == "DOWN (agent)"
    made.say("disable agent haproxy/node1")
    assert shown() == [""] * 8
    made.say("enable agent haproxy/node1")
    assert shown() == text


def test_columns_of_a_slow_start(bench: Build) -> None:
    made = bench(AGENT)
    slot = made.world.slot("haproxy/node1")
    made.world.arena.set_server(slot, ramp=9, maxconn=3)
    server, backend = rows(made)[1:]
    names = ("weight", "uweight", "throttle", "slim")
    assert [server[name] for name in names] == ["57", "100", "56", "3"]
    assert [backend[name] for name in ("weight", "uweight")] == ["57", "100"]
    state = made.say("show servers state").splitlines()[2].split(" ")
    assert state[5:9] == ["1", "0", "100", "100"]  # starting
    made.say("set server haproxy/node1 state drain")
    assert rows(made, "2 4 1")[0]["throttle"] == ""


def test_columns_of_a_server_for_its_regulars(bench: Build) -> None:
    made = bench(CHAIN)
    made.say("set server haproxy@node1/node1 health stopping")
    made.say("set server haproxy@node1/node2 state drain")
    server, _, backend = rows(made)[1:4]
    assert (server["status"], backend["status"], backend["act"]) == ("NOLB", "DOWN", "0")
    assert [row["svname"] for row in rows(made, "2 4 -1 up")] == ["node1", "node2"]
    assert made.say("show servers state").splitlines()[2].split(" ")[5] == "3"
