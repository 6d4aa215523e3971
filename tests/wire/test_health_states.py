"""The states of a server beside real HAProxy's: checks by a script, orders, slow starts, log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire.health_pair import Both, Case, Play, greets, page, run_both

pytestmark = [pytest.mark.wire, pytest.mark.external]

SERVER = "check inter 400ms fastinter 200ms rise 2 fall 3"
CHECK = "path: /hc, interval: 400ms, fast_interval: 200ms, rise: 2, fall: 3"
UP = ("UP", "L7OK", "200", "4", "")


def case(*plays: Play, more: str = "", rules: str = "", server: str = "", keys: str = "") -> Case:
    """HTTP checks; `more` is in the section of edge's checks."""
    return Case(
        f"  option httpchk GET /hc\n{rules}",
        f"{SERVER} {server}",
        f"  health_check: {{{CHECK}{more}}}\n{keys}",
        plays,
    )


def test_health_goes_through_the_same_states(tmp_path: Path) -> None:
    codes = (200, 500, 500, 200, 503, 500, 500, 200, 404, 200, 302)
    with run_both(case(*map(page, codes)), tmp_path) as both:
        found = both.watch("UP", "L7OK", "302", "4", "", "6", "1")
        assert [row[0] for row in found] == [
            "UP",
            "UP 2/3",
            "UP 1/3",
            "UP",
            "UP 2/3",
            "UP 1/3",
            "DOWN",
            "DOWN 1/2",
            "DOWN",
            "DOWN 1/2",
            "UP",
        ]
        down, up = both.lines()
        assert down.startswith("Server haproxy/node1 is DOWN, reason: Layer7 wrong status, code: 5")
        assert up.startswith("Server haproxy/node1 is UP, reason: Layer7 check passed, code: 302")
        assert "edge: backend haproxy has no server available!" in both.edge.stderr()


def test_a_new_server_goes_down_at_its_first_failed_check(tmp_path: Path) -> None:
    with run_both(case(page(500), page(500), page(200)), tmp_path) as both:
        found = both.watch(*UP, "1", "1")
        assert [row[0] for row in found] == ["DOWN", "DOWN 1/2", "UP"]


def test_a_404_stops_a_server_that_runs(tmp_path: Path) -> None:
    told = case(page(200), more=", disable_on_404: true", rules="  http-check disable-on-404")
    with run_both(told, tmp_path) as both:
        both.watch(*UP, "0", "0")
        both.then(page(404))
        both.watch("NOLB", "L7OKC", "404", "4", "", "0", "0")
        states = {each.side.servers()["node1"][5] for each in (both.haproxy, both.edge)}
        assert states == {"3"}
        both.then(page(500), page(404))
        both.watch("NOLB", "L7OKC", "404", "4", "", "1", "0")
        both.then(page(500))
        both.watch("DOWN", "L7STS", "500", "0", "X", "4", "1")
        both.then(page(404))  # DOWN stays DOWN
        both.watch("DOWN", "L7STS", "404", "0", "X", "4", "1")
        both.then(page(200))
        both.watch(*UP, "4", "1")
        assert [line.split(",")[0] for line in both.lines()] == [
            "Server haproxy/node1 is stopping",
            "Server haproxy/node1 is DOWN",
            "Server haproxy/node1 is UP",
        ]


def test_orders_are_told_as_haproxy_tells_them(tmp_path: Path) -> None:
    with run_both(case(page(200)), tmp_path) as both:
        both.watch(*UP, "0", "0")
        for state in ("drain", "ready", "maint", "ready"):
            both.ask(f"set server haproxy/node1 state {state}")
        both.settle(*UP, "0", "1")
        for health in ("stopping", "down", "up"):
            both.ask(f"disable health haproxy/node1; set server haproxy/node1 health {health}")
        assert len(both.lines()) == 7


def test_results_are_told_where_that_is_wished(tmp_path: Path) -> None:
    told = case(
        page(200),
        page(500),
        page(200),
        page(500),
        page(500),
        page(500),
        page(200),
        more=", log_health_checks: true",
        rules="  option log-health-checks",
    )
    with run_both(told, tmp_path) as both:
        both.watch(*UP, "4", "1")
        lines = both.lines()
        assert "status: 2/3 UP." in lines[1]
        assert len(lines) == 10


def test_a_slow_start_has_haproxys_steps(tmp_path: Path) -> None:
    slow = case(page(500), page(200), server="weight 100 slowstart 3s", keys="  slowstart: 3s\n")
    slow = Case(slow.rules, slow.server, slow.keys, slow.plays, row="weight: 100")
    with run_both(slow, tmp_path) as both:
        steps: dict[str, set[tuple[str, ...]]] = {}
        columns = ("status", "weight", "uweight", "throttle")
        for name, each in (("haproxy", both.haproxy), ("edge", both.edge)):
            steps[name] = set()
            while (row := each.row())["weight"] != "100" or row["status"] != "UP":
                if row["status"] == "UP":
                    steps[name].add(tuple(row[column] for column in columns))
        whole = {
            ("UP", "7", "100", "6"),
            ("UP", "38", "100", "37"),
            ("UP", "69", "100", "68"),
        }
        assert steps["edge"] <= whole
        assert steps["haproxy"] <= whole
        both.watch("UP", "L7OK", "200", "4", "", "1", "1")


AGENT_SERVER = "weight 100 maxconn 10 agent-check agent-port {agent} agent-inter 200ms"
AGENT_KEYS = "  health_check: {enabled: false, agent: {port: {agent}, interval: 200ms}}\n"
AGENT = Case(
    "", AGENT_SERVER, AGENT_KEYS, [page(200)], [greets(b"up\n")], "weight: 100, maxconn: 10"
)
SAYS_UP = ("L7OK", "1", "via agent : up")
SAYS = [
    (b"50%\n", ("no check", "50", "50", "10", "CHECKED", "1", "")),
    (b"drain\r\n", ("DRAIN (agent)", "50", "50", "10", "CHECKED", "1", "")),
    (
        b"75% nonsense\n",
        (*("DRAIN (agent)", "75", "75", "10", "CHECKED", "1"), "agent reports an error : nonsense"),
    ),
    (b"ready, maxconn:5\n", ("no check", "75", "75", "5", "CHECKED", "1", "")),
    (
        b"down # tired\n",
        ("DOWN (agent)", "75", "75", "5", "L7STS", "0", "via agent : down (tired)"),
    ),
    (b"ready\n", ("DOWN (agent)", "75", "75", "5", "CHECKED", "0", "")),
    (b"up 100%\n", ("no check", "100", "100", "5", *SAYS_UP)),
    (b"FAIL\n", ("DOWN (agent)", "100", "100", "5", "L7STS", "0", "via agent : FAIL")),
    (b"maint\n", ("MAINT", "100", "100", "5", "CHECKED", "0", "")),
    (b"ready up\n", ("no check", "100", "100", "5", *SAYS_UP)),
    (
        b"stopped#x 7%\n",
        ("no check", "7", "7", "5", "CHECKED", "1", "agent reports an error : stopped#x"),
    ),
    (b"300%\n", ("no check", "256", "256", "5", "CHECKED", "1", "")),
    (
        b"50%x\n",
        (
            "no check",
            "256",
            "256",
            "5",
            "CHECKED",
            "1",
            "agent warns : Trailing garbage in weight string",
        ),
    ),
    (b"up", ("no check", "256", "256", "5", "CHECKED", "1", "Ignoring incomplete line from agent")),
]


def test_an_agent_is_obeyed_as_haproxy_obeys_it(tmp_path: Path) -> None:
    with run_both(AGENT, tmp_path) as both:
        both.watch("no check", "100", "100", "10", *SAYS_UP)
        for line, row in SAYS:
            both.then_agent(greets(line))
            both.watch(*row)
        both.lines()


def test_an_agent_by_word(tmp_path: Path) -> None:
    with run_both(AGENT, tmp_path) as both:
        both.watch("no check", "100", "100", "10", *SAYS_UP)
        both.then_agent(greets(b"100%\n"))
        both.watch("no check", "100", "100", "10", "CHECKED", "1", "")
        both.ask("set server haproxy/node1 agent down")
        both.watch("DOWN (agent)", "100", "100", "10", "CHECKED", "0", "")
        for command in (
            "set server haproxy/node1 agent nope",
            "set server haproxy/node1 agent",
            "set server haproxy/node1 agent-addr",
            "set server haproxy/node1 agent-addr x.y",
            "set server haproxy/node1 agent-port",
            "set server haproxy/node1 agent-port x",
            "set server haproxy/node1 agent-port 65536",
            "set server haproxy/node1 agent-send x",
            "set server haproxy/node1 agent up",
        ):
            both.ask(command)
        both.watch("no check", "100", "100", "10", "CHECKED", "1", "")
        both.ask("disable agent haproxy/node1")
        both.watch("no check", "100", "100", "10", "", "", "")
        assert both.ask("set server haproxy/node1 agent up").startswith("agent checks are not")
        both.ask("enable agent haproxy/node1")
        both.then_agent(greets(b"down\n"))
        both.watch("DOWN (agent)", "100", "100", "10", "L7STS", "0", "via agent : down")
        states = [each.side.servers()["node1"] for each in (both.haproxy, both.edge)]
        assert states[0][14] == states[1][14]
        both.lines()


def assert_only_the_agent_ends_it(both: Both) -> None:
    both.then_agent(greets(b"down\n"))
    both.watch("DOWN (agent)", "100", "100", "10", "L7STS", "0", "via agent : down")
    both.then_agent(greets(b"up\n"))
    both.watch("UP", "100", "100", "10", *SAYS_UP)


def test_checks_and_an_agent_must_agree(tmp_path: Path) -> None:
    checked = Case(
        "  option httpchk GET /hc",
        f"{SERVER} {AGENT_SERVER}",
        f"  health_check: {{{CHECK}, agent: {{port: {{agent}}, interval: 200ms}}}}\n",
        [page(200)],
        [greets(b"up\n")],
        "weight: 100, maxconn: 10",
    )
    with run_both(checked, tmp_path) as both:
        both.watch("UP", "100", "100", "10", *SAYS_UP)
        assert_only_the_agent_ends_it(both)
        both.lines()
