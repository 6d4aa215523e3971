"""The style of the project as a test: sizes, banned calls, broad excepts, TODOs, unused modules.

Every rule is a function from a source to findings `path:line: what, what instead`, tried below on a
line that breaks it. A rule may be broken where an allow list here says so, with the reason.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("edge", "ext", "tests", "loadtests")

LINE_CHARS_MAX = 100
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = {".py": 600, ".pyx": 800, ".pxd": 400, ".pyi": 400, ".h": 400}

CLOCK = "take `now` as an argument, or call edge.clock.now() / wall()"
# Call -> what to use instead. Bound to edge/ and loadtests/ unless the call is in BANNED_IN_TESTS.
BANNED_CALLS = {
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "time.monotonic": CLOCK,
    "time.monotonic_ns": CLOCK,
    "time.perf_counter": CLOCK,
    "datetime.now": CLOCK,
    "datetime.datetime.now": CLOCK,
    "time.sleep": "wait for the event itself, with a deadline",
    "random.random": "decide by data; what must be random belongs into edge/clock.py",
    "random.choice": "decide by data; what must be random belongs into edge/clock.py",
    "random.uniform": "decide by data; what must be random belongs into edge/clock.py",
    "print": "edge.console",
    "eval": "a parser",
    "exec": "a function",
    "os.system": "subprocess with a list of arguments",
    "asyncio.get_event_loop": "asyncio.get_running_loop()",
}
BANNED_IN_TESTS = {"time.sleep", "eval", "exec", "os.system", "asyncio.get_event_loop"}
ALLOWED_CALLS = {
    ("edge/clock.py", "time.monotonic"),  # the one place
    ("edge/clock.py", "time.time"),  # the one place
    ("edge/cli.py", "print"),  # talks to people
    ("edge/console.py", "print"),  # talks to people
    ("edge/demo/run.py", "print"),  # talks to people
    ("edge/demo/shop.py", "print"),  # a program of its own
}
# Where a foreign error of any kind must not end the process; everything else names its errors.
BROAD_EXCEPTS_MAX: dict[str, int] = {
    "ext/readiness.pyx": 1,  # as an event loop: a failing connection ends alone
    "ext/site.pyx": 1,  # likewise a failing follower
}

LATER, BROKEN = "TO" + "DO", "FIX" + "ME"  # spelled so that this file keeps its own rule
NUMBERED_LATER = re.compile(LATER + r"\(#\d+\): \S")
UNFINISHED = re.compile(rf"#.*\b({LATER}|{BROKEN}|XX" + r"X|HA" + r"CK)\b")
BROAD_EXCEPT = re.compile(r"^\s*except(\s+\(?.*\b(Base)?Exception\b.*)?\s*:")
CODE_IN_COMMENT = re.compile(
    r"^\s*# ?(return\b [\w.]+\(.*\)|(if|elif|for|while) .*:|else:|(cdef|cpdef|def) .*\(.*|"
    r"[a-z_.\[\]]+ = [\w.]+\(.*\)|(from [\w.]+ )?c?import [\w., ]+)$"
)


@dataclass(frozen=True)
class Source:
    """One file of the project; `name` is its path from the root."""

    name: str
    text: str

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def all_sources() -> list[Source]:
    return [
        Source(str(path.relative_to(ROOT)), path.read_text())
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in MODULE_LINES_MAX
    ]


def module_sizes(source: Source) -> Iterator[str]:
    most = MODULE_LINES_MAX[source.suffix]
    if len(source.lines) > most:
        yield f"{source.name}:{most}: {len(source.lines)} lines, at most {most}; split it"


def line_lengths(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_CHARS_MAX:
            yield f"{source.name}:{number}: {len(line)} characters, at most {LINE_CHARS_MAX}"


def function_sizes(source: Source) -> Iterator[str]:
    spans = python_functions if source.suffix == ".py" else cython_functions
    for name, first, last in spans(source):
        if last - first + 1 > FUNCTION_LINES_MAX:
            lines = last - first + 1
            yield f"{source.name}:{first}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def python_functions(source: Source) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, node.end_lineno or node.lineno


def cython_functions(source: Source) -> Iterator[tuple[str, int, int]]:
    """By indentation: a function lasts until code stands at or left of its own column."""
    if source.suffix != ".pyx":
        return
    start = re.compile(r"^(\s*)(?:async )?(?:def|cdef|cpdef)\b(?! class)[^=]*?(\w+)\s*\(")
    lines = source.lines
    for first, line in enumerate(lines):
        head = start.match(line)
        if head is None:
            continue
        indent, last, in_head = len(head[1]), first, True
        for number in range(first, len(lines)):
            text = lines[number]
            if in_head:  # a signature may go on at the left margin
                in_head, last = not text.split("#")[0].rstrip().endswith(":"), number
            elif text.strip() and len(text) - len(text.lstrip()) <= indent:
                break
            elif text.strip():
                last = number
        yield head[2], first + 1, last + 1


def banned_calls(source: Source) -> Iterator[str]:
    if source.suffix != ".py":
        return
    in_tests = source.name.startswith("tests/")
    for node in ast.walk(ast.parse(source.text)):
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        if call not in BANNED_CALLS or (source.name, call) in ALLOWED_CALLS:
            continue
        if source.name.startswith("edge/") or call in BANNED_IN_TESTS or not in_tests:
            yield f"{source.name}:{node.lineno}: {call}(); instead: {BANNED_CALLS[call]}"


def broad_excepts(source: Source) -> Iterator[str]:
    found = [number for number, line in enumerate(source.lines, 1) if BROAD_EXCEPT.match(line)]
    allowed = BROAD_EXCEPTS_MAX.get(source.name, 0)
    for number in found[allowed:]:
        yield f"{source.name}:{number}: broad except; name the errors (allowed here: {allowed})"


def unfinished_work(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        if UNFINISHED.search(line) and not NUMBERED_LATER.search(line):
            yield f"{source.name}:{number}: finish it, or `TODO(#number): what`"


def commented_out_code(source: Source) -> Iterator[str]:
    if source.suffix not in (".pyx", ".pxd"):  # ruff's ERA rules see to .py
        return
    for number, line in enumerate(source.lines, 1):
        if CODE_IN_COMMENT.match(line):
            yield f"{source.name}:{number}: commented-out code; remove it"


def module_heads(source: Source) -> Iterator[str]:
    """A module begins by saying what it is for; a stub file repeats nothing."""
    if not source.text.strip() or source.suffix == ".pyi":
        return
    if not source.text.startswith(('"""', 'r"""', "#", "/*")):
        yield f"{source.name}:1: no head; say purpose, callers, invariants, source"


RULES: list[Callable[[Source], Iterator[str]]] = [
    module_sizes,
    line_lengths,
    function_sizes,
    banned_calls,
    broad_excepts,
    unfinished_work,
    commented_out_code,
    module_heads,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep(rule: Callable[[Source], Iterator[str]]) -> None:
    findings = [finding for source in all_sources() for finding in rule(source)]
    assert not findings, "\n" + "\n".join(findings)


# Made and tested ahead of their use, which the name after them will be.
AWAITED = {"edge/elb/access_log.py": "the writer of access logs"}


def test_every_edge_module_is_used() -> None:
    """Imported by another module, or named in a string: what `python -m` starts."""
    edge = [s for s in all_sources() if s.name.startswith("edge/")]
    configuration = (ROOT / "pyproject.toml").read_text()
    unused = []
    for source in edge:
        module = source.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if module.endswith("__main__") or module == "edge":
            continue
        package, _, leaf = module.rpartition(".")
        ways = re.compile(
            rf"\b{re.escape(module)}\b|from {re.escape(package)} import [^\n]*\b{leaf}\b"
        )
        others = [other.text for other in edge if other is not source]
        if not any(ways.search(text) for text in [*others, configuration]):
            unused.append(source.name)
    assert unused == sorted(AWAITED)


LONG_BODY = "    pass\n" * FUNCTION_LINES_MAX


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (module_sizes, "edge/x.py", "\n" * 601),
        (module_sizes, "ext/x.pyx", "\n" * 801),
        (line_lengths, "edge/x.py", "#" * 101),
        (function_sizes, "edge/x.py", f"def f():\n{LONG_BODY}"),
        (function_sizes, "ext/x.pyx", f"cdef int f(\n    int a,\n) except -1:\n{LONG_BODY}"),
        (banned_calls, "edge/x.py", "import time\ntime.monotonic()"),
        (banned_calls, "edge/x.py", "print(1)"),
        (banned_calls, "tests/x.py", "import time\ntime.sleep(1)"),
        (broad_excepts, "edge/x.py", "try:\n    f()\nexcept Exception:\n    g()"),
        (
            broad_excepts,
            "edge/x.py",
            "try:\n    f()\nexcept (OSError, BaseException) as e:\n    g()",
        ),
        (broad_excepts, "ext/x.pyx", "try:\n    f()\nexcept:\n    g()"),
        (unfinished_work, "edge/x.py", f"# {LATER} what is left"),
        (unfinished_work, "edge/x.py", f"# {BROKEN}(#1): no such form"),
        (commented_out_code, "ext/x.pyx", "    # if length > 3:"),
        (commented_out_code, "ext/x.pyx", "# value = parse(text)"),
        (module_heads, "edge/x.py", "import os"),
    ],
)
def test_rules_find(rule: Callable[[Source], Iterator[str]], name: str, text: str) -> None:
    assert list(rule(Source(name, text))), f"{rule.__name__} misses {text!r}"


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (function_sizes, "ext/x.pyx", f"cdef int a\ncdef int f():\n    pass\n{'# x' * 80}\n" * 30),
        (banned_calls, "tests/x.py", "import time\ntime.monotonic()\nprint(1)"),
        (banned_calls, "edge/clock.py", "import time\ntime.monotonic()"),
        (broad_excepts, "edge/x.py", "try:\n    f()\nexcept OSError:\n    g()"),
        (broad_excepts, "ext/x.pyx", "cdef int f() except -1:\n    pass"),
        (unfinished_work, "edge/x.py", f"# {LATER}(#12): what is left"),
        (commented_out_code, "ext/x.pyx", "# the length is checked before"),
        (module_heads, "edge/x.py", '"""What for."""\nimport os'),
    ],
)
def test_rules_let_pass(rule: Callable[[Source], Iterator[str]], name: str, text: str) -> None:
    assert list(rule(Source(name, text))) == []
