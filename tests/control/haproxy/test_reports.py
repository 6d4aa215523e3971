"""edge.control.haproxy.reports: the answers that are lists."""

from collections.abc import Callable

import pytest

from edge.control.haproxy.reports import captured_errors, uptime_text
from tests.control.haproxy.conftest import Bench

Build = Callable[[str], Bench]

BY_NAME = """
haproxy: {listen: 127.0.0.1:8080}
nodes:
  - {name: node1, web: 'web1.example:9001'}
  - {name: node2, web: '[::1]:9002'}
"""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0d 0h00m00s"), (93_784, "1d 2h03m04s"), (3_599, "0d 0h59m59s")]
)
def test_uptime(seconds: int, text: str) -> None:
    assert uptime_text(seconds) == text


def test_the_stamp_of_errors_has_milliseconds() -> None:
    text = captured_errors(1_795_423_505.0625)
    assert text.startswith("Total events captured on [2")
    assert text.endswith(".062] : 0\n")


def test_a_server_by_name_and_one_by_ipv6(bench: Build) -> None:
    rows = bench(BY_NAME).say("show servers state").splitlines()[2:]
    fields = [row.split(" ") for row in rows]
    assert [row[4] for row in fields] == ["-", "::1"]
    assert [row[17:19] for row in fields] == [["web1.example", "9001"], ["-", "9002"]]
    assert {len(row) for row in fields} == {25}


def test_connections_say_what_is_not_measured(bench: Build) -> None:
    lines = bench(BY_NAME).say("show servers conn haproxy").splitlines()
    assert lines[1].startswith("haproxy/node1 2/1 web1.example 9001 - - ")
    assert len(lines) == 3
