"""The public HTTP cache tests against edge: every test ends as tests/cachesuite says that it does.

Both policies are asked at the same time, each with an edge and an origin of its own; most of the
fifteen seconds are the suite's pauses. A test that begins to pass fails here until
`python -m tests.cachesuite --write-expected --write-readme` has written it down.
"""

from __future__ import annotations

import pytest

from tests.cachesuite import table
from tests.cachesuite.__main__ import Results, ask_all
from tests.cachesuite.expectations import (
    differences,
    gaps_fastly,
    gaps_rfc9111,
    load_fastly,
    load_rfc9111,
)
from tests.cachesuite.suite import VERSION, Suite, UnavailableError, installed
from tests.harness import Client

pytestmark = [pytest.mark.wire, pytest.mark.external]


@pytest.fixture(scope="module")
def suite() -> Suite:
    try:
        return installed()
    except UnavailableError as error:
        pytest.skip(f"the suite cannot be had: {error}")


@pytest.fixture(scope="module")
def results(suite: Suite) -> Results:
    return ask_all(suite, ["rfc9111", "fastly"])


def test_rfc9111_is_as_expected(results: Results) -> None:
    assert differences(load_rfc9111().good_ids(), results["rfc9111"]) == []


def test_fastly_is_as_expected(suite: Suite, results: Results) -> None:
    expected = load_fastly().good_ids(suite.published("fastly"))
    assert differences(expected, results["fastly"]) == []


def test_expectations_speak_of_every_test(suite: Suite, results: Results) -> None:
    assert len(results["rfc9111"]) == len(results["fastly"]) == 350
    assert list(gaps_rfc9111(load_rfc9111(), results["rfc9111"])) == []
    assert list(gaps_fastly(load_fastly(), suite.published("fastly"))) == []


def test_scores_are_the_expected_ones(suite: Suite, results: Results) -> None:
    noted = table.load_scores()
    measured = table.load_scores()
    table.note(measured, VERSION, results)
    assert noted["caches"] == measured["caches"]


def test_judge_agrees_with_what_is_published(suite: Suite) -> None:
    counts = table.count(suite.published("fastly"))
    assert [counts["required"], counts["optimal"]] == [88, 49]


def test_origin_listens_on_loopback_alone(suite: Suite) -> None:
    with suite.origin() as origin:
        assert origin.port > 0
        assert f"Listening on http://127.0.0.1:{origin.port}/" in origin.log
        with Client(origin.port) as client:
            assert client.get("/test/x").status == 409
    with pytest.raises(ConnectionRefusedError):
        Client(origin.port)
