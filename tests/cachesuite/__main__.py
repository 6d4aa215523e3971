"""Asks caches the suite's tests: `python -m tests.cachesuite [CACHE ...]`, by default edge's two
policies. Prints how many tests end well, and each test in which edge is not as expected.

    --failures          each required and optimal test that fails, and who passes it
    --test ID           one test: what the client and the origin have sent and seen
    --suite FOLDER      a clone of the suite's repository, after `npm install` in it
    --write-expected    takes over what edge did; reasons are kept, missing ones are left empty
    --write-readme      takes over edge's counts into scores.json and the README's table
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cachesuite import table
from tests.cachesuite.expectations import (
    Fastly,
    Rfc9111,
    differences,
    load_fastly,
    load_rfc9111,
    save_fastly,
    save_rfc9111,
)
from tests.cachesuite.suite import KINDS, Suite, Verdict, installed
from tests.cachesuite.systems import SYSTEMS, ask

Results = dict[str, list[Verdict]]


def ask_all(suite: Suite, names: list[str]) -> Results:
    """The verdicts on each cache, all asked at the same time."""
    with tempfile.TemporaryDirectory(prefix="cache-suite-") as home:
        folders = {name: Path(home) / name for name in names}
        for folder in (Path(home), *folders.values()):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)  # workers of some caches run as another user
        with ThreadPoolExecutor(len(names)) as pool:
            asked = {name: pool.submit(ask, suite, name, folders[name]) for name in names}
            return {name: verdicts.result() for name, verdicts in asked.items()}


def explain(suite: Suite, name: str, test_id: str) -> str:
    """The dump of one test at one cache."""
    with tempfile.TemporaryDirectory(prefix="cache-suite-") as home:
        Path(home).chmod(0o755)
        with suite.origin() as origin, SYSTEMS[name](origin.port, Path(home)) as port:
            text = suite.explain(f"http://127.0.0.1:{port}", test_id)
        return text + "\n".join(["", "at the origin:", *origin.log])


def failures(suite: Suite, verdicts: list[Verdict]) -> list[str]:
    """The required and optimal tests that fail, each with the published caches that pass it."""
    passing: dict[str, list[str]] = {}
    for path in sorted((suite.folder / "results").glob("*.json")):
        for verdict in suite.published(path.stem):
            if verdict.is_good:
                passing.setdefault(verdict.id, []).append(path.stem)
    return [
        f"{verdict.kind} {verdict.id}: {verdict.word}: {verdict.detail}\n"
        f"    {verdict.name}\n    passed by: {', '.join(passing.get(verdict.id, ['nobody']))}"
        for verdict in sorted(verdicts, key=lambda verdict: KINDS.index(verdict.kind))
        if verdict.kind != "check" and not verdict.is_good
    ]


def expected(suite: Suite) -> dict[str, set[str]]:
    """Policy -> the tests that must end well."""
    published = suite.published("fastly")
    return {"rfc9111": load_rfc9111().good_ids(), "fastly": load_fastly().good_ids(published)}


def write_expected(suite: Suite, results: Results) -> None:
    """What was measured becomes what is expected."""
    if "rfc9111" in results:
        save_rfc9111(Rfc9111.of(results["rfc9111"], load_rfc9111().reasons))
    if "fastly" in results:
        known = load_fastly()
        reasons = known.edge_alone | known.fastly_alone
        save_fastly(Fastly.of(results["fastly"], suite.published("fastly"), reasons))


def write_readme(suite: Suite, results: Results) -> None:
    """The counts of edge into scores.json, and the table into the README."""
    scores = table.load_scores()
    edge = {name: verdicts for name, verdicts in results.items() if name in table.EDGE_ROWS}
    table.note(scores, table.label_of(suite), edge)
    table.save_scores(scores)
    table.README.write_text(table.insert(table.README.read_text(), table.render(scores)))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cachesuite")
    parser.add_argument("caches", nargs="*", metavar="CACHE", help=", ".join(SYSTEMS))
    parser.add_argument("--suite", type=Path, help="a clone of the suite's repository")
    parser.add_argument("--test", metavar="ID", help="one test with its messages")
    parser.add_argument("--failures", action="store_true", help="list them")
    parser.add_argument("--json", type=Path, help="where to put every verdict")
    parser.add_argument("--write-expected", action="store_true")
    parser.add_argument("--write-readme", action="store_true")
    options = parser.parse_args()
    options.caches = options.caches or list(table.EDGE_ROWS)
    for name in options.caches:
        if name not in SYSTEMS:
            parser.error(f"no cache {name!r}; one of {', '.join(SYSTEMS)}")
    return options


def main() -> int:
    """Exit status 1: edge did not do what is expected of it."""
    options = parse_options()
    suite = Suite(options.suite) if options.suite else installed()
    if options.test:
        print("\n".join(explain(suite, name, options.test) for name in options.caches))
        return 0
    results = ask_all(suite, options.caches)
    if options.json:
        options.json.write_text(json.dumps({n: [vars(v) for v in r] for n, r in results.items()}))
    if options.write_expected and suite.is_pinned:
        write_expected(suite, results)
    if options.write_readme:
        write_readme(suite, results)
    wrong: list[str] = []
    for name, verdicts in results.items():
        counts = table.count(verdicts)
        print(f"{name}: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
        if options.failures:
            print("\n".join(failures(suite, verdicts)))
        if suite.is_pinned and name in table.EDGE_ROWS:
            wrong += [f"{name}: {line}" for line in differences(expected(suite)[name], verdicts)]
    print("\n".join(wrong), end="\n" if wrong else "")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
