"""An availability zone is lost with all its nodes at once, under load, and comes back.

What may be lost is what the fault table says (fault_rows.py): a request that a node may have got is
not repeated when it stays silent (row 7: 504), and a POST not when its connection ends (rows 5, 6:
502). Everything else is served by the other zones. How a zone is lost decides which of it applies:

* killed: connections end and connects are refused. Nothing that may be repeated is lost;
* stopped: the kernel goes on accepting, and nobody answers. Until the checks have noticed,
  requests to the zone end with 504; from then on none;
* unreachable: connects are not answered. They are tried elsewhere (row 2): again nothing is lost;
* vanished, with connections open: nothing at all comes back. Requests in flight and those on kept
  connections end with 504, until a connect fails, which ends the kept ones, or a check does.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from loadtests.event_verdict import Disturbances, Kill, judge
from tests.wire.zones import (
    CLIENTS,
    SERVER_S,
    Farm,
    has_rights,
    may_make_networks,
    run_farm,
    run_network,
    unreachable,
)

pytestmark = pytest.mark.wire

GATEWAY_TIMEOUT = 504
LATE_S = 2.0  # a busy machine's scheduling


def expect_only(farm: Farm, kills: list[Kill]) -> None:
    """Nothing failed but POSTs in flight at these moments, and no POST ran twice."""
    verdict = judge(farm.ledger, farm.node_ledger(), Disturbances(nodes=kills))
    assert verdict.faults == ()


def expect_only_late(farm: Farm, lost_at: float, noticed_at: float) -> int:
    """Nothing failed but with 504, sent before the loss was noticed; how many. No POST twice."""
    for failure in farm.ledger.failures:
        assert failure.status == GATEWAY_TIMEOUT, failure
        assert lost_at - SERVER_S < failure.sent_at < noticed_at, failure
        # Who has waited for the fetch of another first, waits for two.
        assert SERVER_S * 0.9 < failure.ended_at - failure.sent_at < SERVER_S * 2 + LATE_S, failure
    nodes = farm.node_ledger()
    assert [number for number in nodes.posts if nodes.begun[number] > 1] == []
    return len(farm.ledger.failures)


def expect_served_without(farm: Farm) -> None:
    """The zone is out: the others serve everything, and it is left alone."""
    asked = farm.asked()
    farm.wait_requests(200)
    assert farm.asked() == asked


def test_a_killed_zone_loses_nothing_that_may_be_repeated(tmp_path: Path) -> None:
    with run_farm(tmp_path) as farm:
        began_at = time.monotonic()
        for node in farm.lost:
            node.kill()
        kill = Kill("zone", began_at, time.monotonic())
        farm.wait_zone(is_up=False)
        expect_served_without(farm)
        for node in farm.lost:
            node.start()
        farm.wait_zone(is_up=True)
        farm.wait_asked(50)
    expect_only(farm, [kill])


def test_a_stopped_zone_loses_nothing_once_it_is_noticed(tmp_path: Path) -> None:
    with run_farm(tmp_path) as farm:
        lost_at = time.monotonic()
        for node in farm.lost:
            node.send(signal.SIGSTOP)
        noticed_at = farm.wait_zone(is_up=False)
        expect_served_without(farm)
        for node in farm.lost:
            node.send(signal.SIGCONT)
        farm.wait_zone(is_up=True)
        farm.wait_asked(50)
    late = expect_only_late(farm, lost_at, noticed_at)
    print(f"stopped: {late} requests lost in {noticed_at - lost_at:.2f} s")
    assert 0 < late <= CLIENTS * (1 + (noticed_at - lost_at) / SERVER_S)


def test_an_unreachable_zone_loses_nothing_that_may_be_repeated(tmp_path: Path) -> None:
    with run_farm(tmp_path) as farm:
        began_at = time.monotonic()
        with unreachable(farm.lost):
            kill = Kill("zone", began_at, time.monotonic())
            farm.wait_zone(is_up=False)
            expect_served_without(farm)
        farm.wait_zone(is_up=True)
        farm.wait_asked(50)
    expect_only(farm, [kill])


@pytest.mark.external
def test_a_zone_whose_network_vanishes(tmp_path: Path) -> None:
    if not has_rights():
        pytest.skip("network namespaces need root and iproute2")
    if not may_make_networks():
        pytest.xfail("this kernel lets nobody make network namespaces")
    with run_network() as network, run_farm(tmp_path, network.far, network.name) as farm:
        lost_at = time.monotonic()
        network.lose()
        noticed_at = farm.wait_zone(is_up=False)
        expect_served_without(farm)
        network.find()
        farm.wait_zone(is_up=True)
        farm.wait_asked(50)
    late = expect_only_late(farm, lost_at, noticed_at)
    print(f"vanished: {late} requests lost in {noticed_at - lost_at:.2f} s")
