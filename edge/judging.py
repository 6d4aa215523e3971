"""The rules of a worker's haproxy tiers: compiled from the settings, given to the tiers.

Called by the worker once. The numbers of backends, tables and variables are those of one HAProxy:
its frontend and its backends share them, and those of another machine's have their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.balancing import make_key
from edge.errors import Bug
from edge.plan import Plan, TierPlan, backend_name
from edge.rules import Names, compile_section
from edge.settings.haproxy import Haproxy
from edge.settings.rule_lines import OWN, has_rules, lines_of
from edge.stick_tables import tables_of
from ext.rules import Rules
from ext.samples import Scene
from ext.site import Site
from ext.sticktable import StickTable
from ext.upstream import Tier


def judge_tiers(
    plan: Plan, tiers: Mapping[str, Tier], site: Site, tables: Mapping[str, StickTable]
) -> None:
    """Every haproxy frontend that has rules gets them, with its backends."""
    planned = {tier.name: tier for tier in plan.tiers}
    for tier in plan.tiers:
        settings = tier.settings
        if isinstance(settings, Haproxy) and tier.frontend is None and has_rules(settings):
            _judge(tier, planned, tiers, site, tables_of(tier.name, tables))


def _judge(
    frontend: TierPlan,
    planned: Mapping[str, TierPlan],
    tiers: Mapping[str, Tier],
    site: Site,
    tables: Mapping[str, StickTable],
) -> None:
    settings = frontend.settings
    assert isinstance(settings, Haproxy)
    farms = {OWN: frontend.name}
    farms |= {name: backend_name(name, frontend.name) for name in settings.backends}
    servers = {
        name: tuple(server.name for server in planned[tier].servers) for name, tier in farms.items()
    }
    names = Names(servers, tuple(settings.stick_tables), frontend.port)
    backends = [(name, tiers[tier]) for name, tier in farms.items()]
    scene = Scene(site, backends, [tables[name] for name in settings.stick_tables])
    default = names.backend(settings.default_backend or OWN)
    key = make_key([frontend], "haproxy")
    tiers[frontend.name].judge_by(_compiled(scene, frontend, names), key, default)
    for name in settings.backends:
        tier = planned[farms[name]]
        tiers[tier.name].judge_by(_compiled(scene, tier, names), make_key([tier], "haproxy"))


def _compiled(scene: Scene, tier: TierPlan, names: Names) -> Rules | None:
    """None for a backend without rules."""
    assert isinstance(tier.settings, Haproxy)
    if tier.frontend is not None and lines_of(tier.settings).is_empty:
        return None
    program = compile_section(lines_of(tier.settings), names)
    if program.problems:
        # The file was checked; but a file of `-f` may have changed since.
        raise Bug(f"{tier.name}: {program.problems[0]}")
    return Rules(scene, program)
