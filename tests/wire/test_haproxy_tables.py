"""The CLI's commands on stick tables, beside Debian's HAProxy with the same tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.harness import free_port, run_edge
from tests.wire.haproxy_pair import Pair, Side, real_haproxy

pytestmark = [pytest.mark.wire, pytest.mark.external]

HAPROXY = """
global
  nbthread 1
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
backend clients
  stick-table type ip size 100k expire 30s store gpc0,gpt0,conn_cur,http_req_rate(10s)
backend names
  stick-table type string len 8 size 3 expire 1m store http_req_cnt
backend numbers
  stick-table type integer size 3 nopurge store http_req_cnt
"""
EDGE = """
haproxy:
  listen: 127.0.0.1:{port}
  stats: {{socket: {socket}, level: admin}}
  stick_tables:
    clients: {{type: ip, size: 100k, expire: 30s, store: "gpc0,gpt0,conn_cur,http_req_rate(10s)"}}
    names: {{type: string, length: 8, size: 3, expire: 1m, store: http_req_cnt}}
    numbers: {{type: integer, size: 3, nopurge: true, store: http_req_cnt}}
nodes: [{{name: node1, web: '127.0.0.1:9'}}]
"""
SESSION = """
show table
show table nope
show table clients
set table clients key 10.0.0.2 data.gpc0 7 data.gpt0 6
set table clients key 10.0.0.10 data.http_req_rate 5
set table clients key 10.0.0.1
show table clients
show table clients key 10.0.0.2
show table clients key 10.0.0.3
show table clients data.gpc0 gt 3
show table clients data.gpc0 gt 3 data.gpt0 gt 7
show table clients data.http_req_rate gt 3
show table clients data.gpc0 foo 3
show table clients data.nope gt 3
show table clients data.http_req_cnt gt 3
show table clients data.gpc0
show table clients data.gpc0 gt x
show table clients key
show table clients foo
set table clients key 10.0.0.1 data.nope 7
set table clients key 10.0.0.1 data.gpc0 x
set table clients key 10.0.0.1 foo 3
set table nope key 1 data.gpc0 1
set table clients key 3.3.3.3 data.gpc0 -1
show table clients key 3.3.3.3
clear table clients key 10.0.0.1
clear table clients data.gpc0 gt 100
clear table
clear table nope
show table clients
clear table clients
show table
set table names key longer-than-eight data.http_req_cnt 3
set table names key a\\ b data.http_req_cnt 4
set table names key c
set table names key d
show table names
set table numbers key 17 data.http_req_cnt 3
set table numbers key -5
set table numbers key abc
set table numbers key 1
set table numbers key 2
set table numbers key 3
show table numbers
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("tables")
    theirs = Side(folder / "haproxy.sock", 0)
    ours = Side(folder / "edge.sock", free_port())
    file = folder / "haproxy.cfg"
    file.write_text(HAPROXY.format(socket=theirs.socket))
    text = EDGE.format(socket=ours.socket, port=ours.port)
    with run_edge(text, folder), real_haproxy(file, theirs):
        yield Pair(theirs, ours)


def answers(side: Side) -> dict[str, str]:
    """What each line of the session is answered, without addresses and times."""
    answered = {}
    for number, line in enumerate(SESSION.strip().splitlines()):
        text = re.sub(r"0x[0-9a-f]+", "0xX", side.ask(line))
        text = re.sub(r"(rate\(10000\)=)[45]", r"\1X", text)  # fades
        answered[f"{number}: {line}"] = re.sub(r"exp=[1-9][0-9]*", "exp=X", text)
    return answered


def test_a_session_is_answered_as_haproxy_answers_it(pair: Pair) -> None:
    ours, theirs = answers(pair.edge), answers(pair.haproxy)
    assert [(k, ours[k], theirs[k]) for k in ours if ours[k] != theirs[k]] == []
    assert sum("key=" in text for text in ours.values()) >= 8
