"""After each wire test: the edge it used has reported no trouble."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def edge_stays_well(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test during which a worker raised an exception or died."""
    yield
    if "stand" in request.fixturenames:
        request.getfixturevalue("stand").check()
