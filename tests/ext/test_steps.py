"""The step table of ext/session.pyx: rows, what each returns, and the diagrams that show it.

Read as text, because the table is C: the order of STEPS is that of `enum Step`, the rows that a
step's function can answer are the arrows of the diagram in the module's head, and README.md has
the same diagram.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SESSION = (ROOT / "ext/session.pyx").read_text()
CLIENT = (ROOT / "ext/client.pyx").read_text()
ENDS = ["wait", "done"]  # behind the rows in `enum Step`
# A listener's chain may lack these, then the row in front goes past them.
TIERS = {"elb", "haproxy"}


def without_comments(text: str) -> str:
    return re.sub(r"(?m)\s*#.*$", "", re.sub(r'(?s)""".*?"""', "", text))


def functions(text: str) -> dict[str, str]:
    """The bodies of the module's C functions."""
    parts = re.split(r"(?m)^cdef (?:inline )?\w[\w ]*?\b(\w+)\(", without_comments(text))
    bodies = (re.split(r"\n(?=\S)", part, maxsplit=1)[0] for part in parts[2::2])
    return dict(zip(parts[1::2], bodies, strict=True))


def table() -> list[str]:
    """The rows of STEPS, in order."""
    found = re.search(r"(?s)\nSTEPS\[:\] = \[\n(.*?)\n\]", SESSION)
    assert found is not None
    return re.findall(r"\bstep_(\w+),", without_comments(found[1]))


def enum() -> list[str]:
    """The names of `enum Step`, in order."""
    for path in sorted((ROOT / "ext").glob("*.pxd")):
        found = re.search(r"cdef enum Step:.*\n((?:    .*\n)+)", path.read_text())
        if found is not None:
            return re.findall(r"\w+", without_comments("\n" + found[1]).lower())
    raise AssertionError("no enum Step")


ROWS = table()
BODIES = functions(SESSION)


def outcomes(function: str) -> set[str]:
    """What a step or a part of one can answer: rows, `wait`, `done`."""
    body = BODIES[function]
    found = set()
    for returned in re.findall(r"return ((?:\([^)]*\)|.)*)", body):
        plain = re.sub(r"[\w.]+\([^()]*\)", "", returned)
        found |= {word.lower() for word in re.findall(r"\b[A-Z]+\b", plain)}
    if "fail_with(" in body:
        found.add("error")
    parts = [name for name in BODIES if not name.startswith("step_") and f" {name}(s" in body]
    for part in parts:
        found |= outcomes(part)
    return found & {*ROWS, *ENDS}


def diagram(text: str) -> list[str]:
    """The lines from the one with the whole way to the first empty one, without the margin."""
    found = re.search(r"(?m)^( *)receive -> .*\n(?:.+\n)*", text)
    assert found is not None
    return [line.removeprefix(found[1]) for line in found[0].splitlines()]


DIAGRAM = diagram(SESSION)
WAY = DIAGRAM[0].split(" -> ")


def test_table_has_the_order_of_the_enum() -> None:
    assert enum() == [*ROWS, *ENDS]
    assert f"StepFunction[{len(ROWS)}] STEPS" in SESSION


def test_every_row_has_a_function_and_every_function_a_row() -> None:
    steps = [name.removeprefix("step_") for name in BODIES if name.startswith("step_")]
    assert steps == ROWS


def test_diagram_names_every_row() -> None:
    assert [row for row in ROWS if row in WAY] == WAY
    assert set(ROWS) - set(WAY) == {"error"}


def test_readme_has_the_diagram_of_the_table() -> None:
    assert diagram((ROOT / "README.md").read_text()) == DIAGRAM


@pytest.mark.parametrize(("row", "following"), list(pairwise(WAY)))
def test_every_arrow_is_taken(row: str, following: str) -> None:
    """`deliver` follows an event: `fetch` waits, and the answer's head enters there."""
    if following == "deliver":
        assert "wait" in outcomes("step_fetch")
        assert "self.run(DELIVER)" in CLIENT
    else:
        assert following in outcomes(f"step_{row}")


@pytest.mark.parametrize("row", WAY[:-1])
def test_no_other_way_is_taken(row: str) -> None:
    """A step goes to the next row of the chain, past tiers that are not there, or to error."""
    allowed = {"wait", "error"}
    for following in WAY[WAY.index(row) + 1 :]:
        allowed.add(following)
        if following not in TIERS:
            break
    assert outcomes(f"step_{row}") <= allowed


def test_error_comes_from_where_the_diagram_says_and_ends_in_log() -> None:
    line = next(line for line in DIAGRAM if line.endswith("-> error -> log"))
    sources = re.findall(r"\w+", line.removesuffix("-> error -> log"))
    assert sources == [row for row in ROWS if "error" in outcomes(f"step_{row}")]
    assert outcomes("step_error") == {"log"}
    assert outcomes("step_log") == {"done"}


def test_retry_goes_from_fetch_back_to_where_a_server_is_picked() -> None:
    line = next(line for line in DIAGRAM if "retry" in line)

    def above(column: int) -> str:
        return next(m[0] for m in re.finditer(r"\w+|\W+", DIAGRAM[0]) if m.end() > column)

    assert (above(line.index("^")), above(line.rindex("|"))) == ("elb", "fetch")
    tier_row = functions_of_class(CLIENT)["tier_row"]
    rows = {word.lower() for word in re.findall(r"\b[A-Z]+\b", tier_row)}
    assert rows == {"pass", "elb", "haproxy"}
    for row in rows:  # picked there, and left again when all are full
        assert {"fetch", "wait", "error"} <= outcomes(f"step_{row}")


def functions_of_class(text: str) -> dict[str, str]:
    """The bodies of C methods."""
    parts = re.split(r"(?m)^    cdef \w[\w ]*?\b(\w+)\(self", without_comments(text))
    bodies = (re.split(r"\n {0,4}(?=\S)", part, maxsplit=1)[0] for part in parts[2::2])
    return dict(zip(parts[1::2], bodies, strict=True))


def test_events_enter_at_rows() -> None:
    """Whoever waits names the row to re-enter; an event that names one names a row of the table."""
    entered = re.findall(r"\b(?:run|resume_at)\(([A-Z]\w*)\)", without_comments(CLIENT))
    assert {"receive", "fetch", "deliver", "error", "log"} <= {row.lower() for row in entered}
    assert {row.lower() for row in entered} <= set(ROWS)
    for name, body in BODIES.items():
        if "= WAITING" in body:
            assert re.search(r"s\.row = ", body), f"{name} waits without a row to come back to"
