"""Rules that hold for every test: no live C objects afterwards, and in CI no skips.

The counts exist in the debug build only (EDGE_DEBUG=1, ext/debug.h). A test that keeps an object
in a module-wide fixture on purpose says so with the marker `keeps_objects`.
"""

import gc
import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from ext.live import ENABLED, live_counts

# Where Debian keeps servers and `ip`; not in a user's PATH.
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@pytest.fixture(autouse=True)
def no_live_objects(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test after which more C objects are alive than before it."""
    if not ENABLED or request.node.get_closest_marker("keeps_objects"):
        yield
        return
    before = live_counts()
    yield
    if left_since(before):
        gc.collect()  # cycles may live a little longer; collecting after every test takes minutes
    assert not left_since(before), f"C objects left alive: {left_since(before)}"


def left_since(before: dict[str, int]) -> dict[str, int]:
    """Kind -> how many more (or fewer) are alive now; only what changed."""
    changes = {kind: count - before.get(kind, 0) for kind, count in live_counts().items()}
    return {kind: change for kind, change in changes.items() if change != 0}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """In CI a skip is a failure: what cannot run there runs nowhere."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped, which CI=true forbids: {report.longrepr}"
    return report
