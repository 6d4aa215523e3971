"""Whole sections: rules compile, and every mistake says where it is and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.rules import Lines, Names, compile_section
from edge.rules.program import Program
from ext.rulecodes import Action


def names() -> Names:
    return Names({"haproxy": ("n1",), "api": ("n1", "n2")}, ("clients",), 80)


def compiled(**lines: list[str] | str) -> Program:
    return compile_section(Lines(**lines), names())  # type: ignore[arg-type]


def request(line: str) -> str:
    """What is wrong with a line of http_request; empty if nothing is."""
    program = compiled(http_request=[line])
    return program.problems[0][1] if program.problems else ""


@pytest.mark.parametrize(
    "line",
    [
        "deny",
        "http-request deny if { path /x }",
        "deny deny_status 429 if TRUE",
        "deny status 400 content-type text/plain string no",
        "return status 200 content-type text/plain lf-string %[src]",
        "redirect location / code 301",
        "redirect prefix https://a drop-query append-slash set-cookie A=1",
        "set-header X %[req.hdr(a,-1),lower,field(1,.)]",
        'set-header X "a b" if { src 10.0.0.0/8 } || TRUE',
        "set-header Host x.test",
        "del-header X -m beg",
        "replace-header X (a)(b) \\2\\1",
        "replace-path (.*) /x\\1",
        "set-var(txn.a) src",
        "unset-var(txn.a)",
        "track-sc0 src table clients",
        "track-sc2 hdr(a),lower table clients",
        "sc-inc-gpc0(1)",
        "set-priority-class int(-5)",
        "set-priority-offset int(500)",
        "set-timeout server 5s",
        "set-timeout tunnel int(5000)",
        "set-src req.hdr_ip(x-forwarded-for,-1)",
        "disable-l7-retry if METH_POST",
        "tarpit deny_status 429",
        "reject",
        "silent-drop",
        "set-method GET",
        "set-header X %%%ci%HM",
    ],
)
def test_lines_that_are_right(line: str) -> None:
    assert request(line) == ""


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("", "is empty"),
        ("dny", "no action `dny`; did you mean deny?"),
        ("deny deny_status 418", "has pages for 200, 400"),
        ("deny deny_status x", "a whole number"),
        ("deny now", "goes on with 'now'"),
        ("return status 99", "from 200 to 599"),
        ("return string x", "without a `content-type`"),
        ("return content-type text/plain file /nonexistent", "cannot read"),
        ("redirect code 301", "needs `location`, `prefix` or `scheme`"),
        ("redirect location / code 300", "one of 301"),
        ("redirect location / set-cookie a;b", "write NAME or NAME=value"),
        ("set-header X", "needs a value"),
        ("set-header X a b", "only `if` or `unless`"),
        ("set-header Content-Length 5", "where a message ends"),
        ("set-header transfer-encoding x", "where a message ends"),
        ("add-header Host x", "where a message ends"),
        ("del-header Connection", "where a message ends"),
        ("set-header X:Y a", "one word of letters"),
        ("set-header X %[src", "has no ]"),
        ("set-header X %[status]", "reads an answer"),
        ("set-header X %ST", "values of rules know"),
        ("set-header X %{+Q}[src]", "has flags"),
        ("replace-header X ( a", "regular expression"),
        ("track-sc3 src table clients", "at most sc0 to sc2"),
        ("track-sc0 src", "needs `table NAME`"),
        ("track-sc0 src table client", "did you mean clients?"),
        ("set-var(a) src", "write txn.name"),
        ("set-timeout client 5s", "server and tunnel"),
        ("set-timeout server 0s", "from 1ms"),
        ("deny if nobody", "names the acl 'nobody'"),
    ],
)
def test_lines_that_are_wrong(line: str, right: str) -> None:
    assert right in request(line)


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("tarpit", "which http_response has not"),
        ("set-header X %[path]", "keep it: http_request `set-var(txn.x) ...`"),
        ("deny if { path /x }", "reads a request"),
    ],
)
def test_answers_know_no_requests(line: str, right: str) -> None:
    [(place, text)] = compiled(http_response=["del-header A", line]).problems
    assert place == ("http_response", 1)
    assert right in text


@pytest.mark.parametrize(
    ("line", "right"),
    [("", "must be written"), ("if TRUE", "must be written"), ("apy if TRUE", "did you mean api?")],
)
def test_mistakes_of_routes(line: str, right: str) -> None:
    [(place, text)] = compiled(use_backend=[line]).problems
    assert place == ("use_backend", 0)
    assert right in text


def test_routes() -> None:
    program = compiled(use_backend=["api if TRUE", "use_backend %[req.hdr(to)]"])
    assert not program.problems
    assert [(rule.action, rule.a) for rule in program.routes] == [
        (Action.A_USE_BACKEND, 1), (Action.A_USE_BACKEND, -1)]  # fmt: skip


def test_the_monitor_is_asked_without_a_request() -> None:
    assert not compiled(monitor_uri="/up", monitor_fail="if { nbsrv(api) lt 1 }").problems
    assert "not at hand" in compiled(monitor_uri="/up", monitor_fail="if { path / }").problems[0][1]
    assert "without `monitor_uri`" in compiled(monitor_fail="if TRUE").problems[0][1]
    assert "must be written" in compiled(monitor_uri="/up", monitor_fail="").problems[0][1]


def test_every_mistake_of_a_section_is_told() -> None:
    program = compiled(acl=["a path /x", "b pth /x"], http_request=["deny if a", "deny if c"])
    assert [place for place, _ in program.problems] == [("acl", 1), ("http_request", 1)]


def test_a_file_as_a_body(tmp_path: Path) -> None:
    file = tmp_path / "page"
    file.write_text("50%")
    program = compiled(http_request=[f"return content-type text/html file {file}"])
    answer = program.request[0].answer
    assert answer is not None and answer.body == (b"50%",)


def test_variables_have_one_number_in_all_sections() -> None:
    shared = names()
    one = compile_section(Lines(http_request=["set-var(txn.a) src", "set-var(txn.b) src"]), shared)
    two = compile_section(Lines(http_response=["set-var(txn.b) status"]), shared)
    assert [rule.a for rule in one.request] == [0, 1]
    assert two.response[0].a == 1
    many = [f"set-var(txn.v{n}) src" for n in range(33)]
    assert "more than 32 variables" in compiled(http_request=many).problems[0][1]
