"""The step table of ext/session.pyx: rows, what each returns, and the diagrams that show it.

Read as text, because the table is C: the order of STEPS is that of `enum Step`, the rows that a
step's function can answer are those of the list in the module's head, and README.md has the same
diagram.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SESSION = (ROOT / "ext/session.pyx").read_text()
RELAY = (ROOT / "ext/relay.pyx").read_text()
CACHED = (ROOT / "ext/cached.pyx").read_text()
STORING = (ROOT / "ext/storing.pyx").read_text()
RULED = (ROOT / "ext/ruled.pyx").read_text()
CLIENT = (ROOT / "ext/client.pyx").read_text()
DRIVERS = "\n".join((CLIENT, RELAY, CACHED))
ENDS = ["wait", "done"]  # behind the rows in `enum Step`


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
BODIES = functions(STORING) | functions(RULED) | functions(SESSION)


def outcomes(function: str) -> set[str]:
    """What a step or a part of one can answer: rows, `wait`, `done`."""
    body = BODIES[function]
    found = set()
    for returned in re.findall(r"return ((?:\([^)]*\)|.)*)", body):
        plain = re.sub(r"[\w.]+\([^()]*\)", "", returned)
        found |= {word.lower() for word in re.findall(r"\b[A-Z]+\b", plain)}
    if "fail_with(" in body:
        found.add("error")
    parts = [
        name
        for name in BODIES
        if not name.startswith("step_") and re.search(rf"(?:return|next_ =|row =) {name}\(s", body)
    ]
    for part in parts:
        found |= outcomes(part)
    return found & {*ROWS, *ENDS}


def arrows(text: str) -> dict[str, set[str]]:
    """The lines `row   next next ...` of a text, in their order."""
    names = {*ROWS, *ENDS}
    rows = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in ROWS and set(words[1:]) <= names:
            rows[words[0]] = set(words[1:])
    return rows


def diagram(text: str) -> list[str]:
    """The lines from the one with the whole way to the first empty one, without the margin."""
    found = re.search(r"(?m)^( *)receive -> .*\n(?:.+\n)*", text)
    assert found is not None
    return [line.removeprefix(found[1]) for line in found[0].splitlines()]


ARROWS = arrows(SESSION)
DIAGRAM = diagram(SESSION)


def test_table_has_the_order_of_the_enum() -> None:
    assert enum() == [*ROWS, *ENDS]
    assert f"StepFunction[{len(ROWS)}] STEPS" in SESSION


def test_every_row_has_a_function_and_every_function_a_row() -> None:
    steps = [name.removeprefix("step_") for name in BODIES if name.startswith("step_")]
    assert steps == ROWS


def test_diagram_names_every_row() -> None:
    named = set(re.findall(r"[a-z]+", " ".join(DIAGRAM)))
    assert set(ROWS) - named == {"error"}, "the diagram shows how requests succeed"


def test_readme_has_the_diagram_of_the_table() -> None:
    assert diagram((ROOT / "README.md").read_text()) == DIAGRAM


def test_arrows_are_in_the_order_of_the_table() -> None:
    assert list(ARROWS) == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_arrows_are_those_that_are_taken(row: str) -> None:
    assert outcomes(f"step_{row}") == ARROWS[row]


def test_retry_goes_to_where_a_server_is_picked() -> None:
    """From `fetch` or `answer`, after an event, to a row that `choose` was called in."""
    tier_row = functions_of_class(RELAY)["tier_row"] + functions_of_class(CACHED)["tier_row"]
    rows = {word.lower() for word in re.findall(r"\b[A-Z]+\b", tier_row)} & set(ROWS)
    assert rows == {"miss", "pass", "elb", "haproxy"}
    for row in rows:  # picked there, and left again when all are full
        assert {"fetch", "wait", "error"} <= outcomes(f"step_{row}")


def functions_of_class(text: str) -> dict[str, str]:
    """The bodies of C methods."""
    parts = re.split(r"(?m)^    cdef \w[\w ]*?\b(\w+)\(self", without_comments(text))
    bodies = (re.split(r"\n {0,4}(?=\S)", part, maxsplit=1)[0] for part in parts[2::2])
    return dict(zip(parts[1::2], bodies, strict=True))


def test_events_enter_at_rows() -> None:
    """Whoever waits names the row to re-enter; an event that names one names a row of the table."""
    entered = re.findall(r"\b(?:run|resume_at)\(([A-Z]\w*)\)", without_comments(DRIVERS))
    assert {"receive", "fetch", "answer", "error", "log"} <= {row.lower() for row in entered}
    assert {row.lower() for row in entered} <= set(ROWS)
    for name, body in BODIES.items():
        if "= WAITING" in body:
            assert re.search(r"s\.row = ", body), f"{name} waits without a row to come back to"
