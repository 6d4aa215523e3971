"""From a tier's settings to its balancer, and to the key that its requests are hashed by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.plan import TierPlan
from edge.settings.balance import HASHED, Balance, HashType, read_balance, read_hash_type
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.tcp import Tcp
from ext.arena import Arena
from ext.balance import BALANCERS
from ext.farm import Balancer
from ext.hashes import ring_seed
from ext.hashkey import HashKey

# AWS's names; its own hash is not known, so a key that is hashed there goes to HAProxy's ring.
ELB_DRAWS = 1
ELB_HASH = HashType("consistent", avalanche=True)
ELB_NAMES = {
    "round_robin": Balance("roundrobin"),
    "least_outstanding_requests": Balance("leastconn"),
    "weighted_random": Balance("random", draws=ELB_DRAWS),
}


def make_balancer(
    arena: Arena, row: int, rows: list[tuple[int, int, bool]], planned: TierPlan
) -> Balancer:
    """The balancer of a tier; `rows` are (slot, maxconn, backup) of its servers, in their order."""
    balance, hash_type = balance_of(planned.settings)
    options: dict[str, Any] = {
        "fail_open": opens_below(planned),
        "weights": [server.weight for server in planned.servers],
        "draws": balance.draws,
    }
    settings = planned.settings
    if isinstance(settings, Haproxy):
        options["all_backups"] = settings.allbackups
        options["balance_percent"] = settings.hash_balance_factor
        if settings.hash_key == "name":
            options["seeds"] = [ring_seed(server.name.encode()) for server in planned.servers]
    kind = hash_type.method if balance.algorithm in HASHED else balance.algorithm
    return BALANCERS[kind](arena, row, rows, **options)


def opens_below(planned: TierPlan) -> int:
    """With fewer usable servers a tier uses all; 0: never."""
    if isinstance(planned.settings, Elb):
        return planned.settings.target_group.routes_to_all_below(len(planned.servers))
    return 1 if planned.fails_open else 0


def make_key(chain: Sequence[TierPlan], kind: str) -> HashKey | None:
    """The key that the tier of a kind balances by; None when it does without, or is not there.

    `chain`: the tiers that a request passes. Behind another tier a request has no scheme and host
    in its target, whatever the client has sent.
    """
    for place, planned in enumerate(chain):
        if planned.kind != kind:
            continue
        balance, hash_type = balance_of(planned.settings)
        if balance.algorithm not in HASHED:
            return None
        return HashKey(
            balance.algorithm,
            function=hash_type.function,
            mixes=hash_type.avalanche,
            name=balance.name.encode(),
            whole=balance.whole,
            path_only=balance.path_only or place > 0,
            domain_only=balance.domain_only,
            length=balance.length,
            depth=balance.depth,
        )
    return None


def balance_of(settings: object) -> tuple[Balance, HashType]:
    """What a tier's settings say; a cdn's servers are asked in turn."""
    if isinstance(settings, Haproxy):
        return read_balance(settings.balance), read_hash_type(settings.hash_type)
    if isinstance(settings, Tcp):
        return read_balance(settings.balance), HashType()
    name = getattr(settings, "balance", "round_robin")
    return ELB_NAMES.get(name) or Balance(name), ELB_HASH
