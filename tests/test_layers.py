"""Who may import whom: BASE < PHASE < DRIVER < PROCESS, downwards only.

A phase does not import a phase, `ext` never imports `edge`, and no module imports itself through
others. The rows below are the whole rule; a module without a row fails, a row without a module too.
In edge/ a row is a top-level module or package, in ext/ a module. Reads .py by `ast`, and the
`import`, `cimport` and `from` lines of .pyx and .pxd.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BASE, PHASE, DRIVER, PROCESS = range(4)

LAYER = {
    "ext.answers": BASE,
    "ext.arena": BASE,
    "ext.atomics": BASE,
    "ext.cachecontrol": BASE,
    "ext.cachekey": BASE,
    "ext.chunked": BASE,
    "ext.conditions": BASE,
    "ext.dates": BASE,
    "ext.desync": BASE,
    "ext.digits": BASE,
    "ext.edits": BASE,
    "ext.encoding": BASE,
    "ext.extents": BASE,
    "ext.facts": BASE,
    "ext.farm": BASE,
    "ext.fields": BASE,
    "ext.hashes": BASE,
    "ext.headers": BASE,
    "ext.heap": BASE,
    "ext.http1": BASE,
    "ext.keyed": BASE,
    "ext.leases": BASE,
    "ext.limits": BASE,
    "ext.live": BASE,
    "ext.locks": BASE,
    "ext.patterns": BASE,
    "ext.platform": BASE,
    "ext.proxyline": BASE,
    "ext.purgelog": BASE,
    "ext.readiness": BASE,
    "ext.rulecodes": BASE,
    "ext.siphash": BASE,
    "ext.squeeze": BASE,
    "ext.sticktable": BASE,
    "ext.stream": BASE,
    "ext.surrogate": BASE,
    "ext.timers": BASE,
    "ext.tracing": BASE,
    "ext.turns": BASE,
    "ext.values": BASE,
    "ext.variants": BASE,
    "ext.balance": PHASE,
    "ext.body": PHASE,
    "ext.forward": PHASE,
    "ext.freshness": PHASE,
    "ext.hashkey": PHASE,
    "ext.persist": PHASE,
    "ext.sticky": PHASE,
    "ext.audit": DRIVER,
    "ext.eviction": DRIVER,
    "ext.objects": DRIVER,
    "ext.region": DRIVER,
    "ext.shard": DRIVER,
    "ext.store": DRIVER,
    "ext.store_for_test": DRIVER,
    "ext.sweep": DRIVER,
    "ext.cache": DRIVER,
    "ext.cached": DRIVER,
    "ext.client": DRIVER,
    "ext.deliver": DRIVER,
    "ext.fill": DRIVER,
    "ext.regulars": DRIVER,
    "ext.relay": DRIVER,
    "ext.rewrite": DRIVER,
    "ext.ruled": DRIVER,
    "ext.rules": DRIVER,
    "ext.samples": DRIVER,
    "ext.targets": DRIVER,
    "ext.session": DRIVER,
    "ext.site": DRIVER,
    "ext.storing": DRIVER,
    "ext.tcp": DRIVER,
    "ext.trip": DRIVER,
    "ext.tunnel": DRIVER,
    "ext.upstream": DRIVER,
    "edge.check_rules": BASE,
    "ext.observe": BASE,
    "ext.orders": DRIVER,
    "ext.queue": BASE,
    "ext.retry": PHASE,
    "edge.clock": BASE,
    "edge.errors": BASE,
    "edge.elb": PHASE,
    "edge.rules": BASE,
    "edge.health": PHASE,
    "edge.purging": PHASE,
    "edge.settings": PHASE,
    "edge.__main__": PROCESS,
    "edge.activation": PROCESS,
    "edge.admin_client": PROCESS,
    "edge.adoption": PROCESS,
    "edge.balancing": PROCESS,
    "edge.cli": PROCESS,
    "edge.console": PROCESS,
    "edge.control": PROCESS,
    "edge.crew": PROCESS,
    "edge.demo": PROCESS,
    "edge.handover": PROCESS,
    "edge.identity": PROCESS,
    "edge.job": PROCESS,
    "edge.judging": PROCESS,
    "edge.keeper": PROCESS,
    "edge.layer4": PROCESS,
    "edge.listen": PROCESS,
    "edge.node_command": PROCESS,
    "edge.notify": PROCESS,
    "edge.operate": PROCESS,
    "edge.orders": PROCESS,
    "edge.outcomes": PROCESS,
    "edge.plan": PROCESS,
    "edge.posts": PROCESS,
    "edge.purge_command": PROCESS,
    "edge.purges": PROCESS,
    "edge.registry": PROCESS,
    "edge.rehearsal": PROCESS,
    "edge.reload_command": PROCESS,
    "edge.resources": PROCESS,
    "edge.start": PROCESS,
    "edge.stats_sockets": PROCESS,
    "edge.stick_tables": PROCESS,
    "edge.status_command": PROCESS,
    "edge.supervisor": PROCESS,
    "edge.upgrade": PROCESS,
    "edge.upgrade_command": PROCESS,
    "edge.worker": PROCESS,
}

CYTHON_IMPORT = re.compile(
    r"^\s*(?:from\s+(?P<source>[\w.]+)\s+c?import\s+(?P<names>[^#]+)|c?import\s+(?P<plain>[^#]+))"
)


def python_imports(text: str) -> Iterator[str]:
    """Dotted names imported anywhere in Python source; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer; write the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def cython_imports(text: str) -> Iterator[str]:
    """The same for .pyx and .pxd; names of a parenthesised list do not matter beyond the module."""
    for line in text.splitlines():
        found = CYTHON_IMPORT.match(line)
        if found is None:
            continue
        names = found["names"] or found["plain"]
        words = [name.split()[0] for name in names.strip("() \\\n").split(",") if name.split()]
        prefix = f"{found['source']}." if found["source"] else ""
        assert not prefix.startswith("."), "relative imports hide the layer; write the full name"
        yield from (prefix + word for word in words or ["*"])


def module_of(path: Path, root: Path) -> str:
    """edge/health/checks.py -> edge.health.checks; ext/http1.pxd -> ext.http1."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def sources(root: Path) -> Iterator[Path]:
    for pattern in ("edge/**/*.py", "ext/*.py", "ext/*.pyx", "ext/*.pxd"):
        yield from sorted(root.glob(pattern))


def project_imports(path: Path) -> set[str]:
    imports = python_imports if path.suffix == ".py" else cython_imports
    return {name for name in imports(path.read_text()) if name.split(".")[0] in ("edge", "ext")}


def row_of(name: str) -> str:
    """The first two parts of a dotted name; a package head (`edge.__version__`) has no row."""
    parts = name.split(".")
    is_head = len(parts) == 1 or parts[1] == "__version__"
    return "" if is_head else ".".join(parts[:2])


def violations(root: Path, layer: dict[str, int]) -> Iterator[str]:
    for path in sources(root):
        home = row_of(module_of(path, root))
        if not home:  # edge/__init__.py, ext/__init__.py
            assert not project_imports(path), f"{path}: a package head imports nothing"
            continue
        if home not in layer:
            yield f"{home} has no row"
            continue
        for target in sorted({row_of(name) for name in project_imports(path)} - {home, ""}):
            if target not in layer:
                yield f"{home} imports {target}, which has no row"
            elif home.startswith("ext.") and target.startswith("edge."):
                yield f"{home} may not import {target}: ext never imports edge"
            elif layer[target] > layer[home] or layer[target] == layer[home] == PHASE:
                yield f"{home} may not import {target}"


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """The modules of one import cycle, in order; empty when there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for target in sorted(edges.get(name, ())):
            if found := walk(target, [*way, name]):
                return found
        done.add(name)
        return []

    for name in sorted(edges):
        if found := walk(name, []):
            return found
    return []


def test_imports_go_down() -> None:
    assert list(violations(ROOT, LAYER)) == []


def test_every_row_has_a_module() -> None:
    rows = {row_of(module_of(path, ROOT)) for path in sources(ROOT)}
    assert sorted(set(LAYER) - rows) == []


def test_no_import_cycles() -> None:
    modules = {module_of(path, ROOT) for path in sources(ROOT)}
    edges: dict[str, set[str]] = {}
    for path in sources(ROOT):
        home = module_of(path, ROOT)
        for name in project_imports(path):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target not in (home, "edge", "ext"):
                edges.setdefault(home, set()).add(target)
    assert cycle(edges) == []


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("edge/low.py", "import edge.high.part", "edge.low may not import edge.high"),
        ("edge/low.py", "def f():\n    from edge import high", "edge.low may not import edge.high"),
        ("edge/one.py", "import edge.two", "edge.one may not import edge.two"),
        ("edge/new.py", "", "edge.new has no row"),
        ("edge/low.py", "import edge.new", "edge.low imports edge.new, which has no row"),
        ("ext/fast.pyx", "from ext.slow cimport (\n    a)", "ext.fast may not import ext.slow"),
        ("ext/fast.pxd", "cimport ext.slow", "ext.fast may not import ext.slow"),
        (
            "ext/slow.pyx",
            "    from edge.low import x",
            "ext.slow may not import edge.low: ext never imports edge",
        ),
        ("edge/high.py", "import edge.low\nimport os\nfrom ext.fast import x", None),
        ("ext/slow.pyx", "from ext.fast cimport a, b\nfrom ext cimport fast\nimport os", None),
    ],
)
def test_violations_are_found(tmp_path: Path, path: str, text: str, found: str | None) -> None:
    layer = {"edge.low": BASE, "ext.fast": BASE, "edge.one": PHASE, "edge.two": PHASE}
    layer |= {"ext.slow": DRIVER, "edge.high": PROCESS}
    source = tmp_path / path
    source.parent.mkdir()
    source.write_text(text)
    assert list(violations(tmp_path, layer)) == ([found] if found else [])


def test_cycles_are_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) == []
