"""From the cdn's settings to what its purges need; the same for workers and control."""

from __future__ import annotations

import os

from edge.clock import wall
from edge.purging import Access, PurgeIds, Purger, PurgeStore, Target
from edge.settings.cdn import Cdn
from ext.cachekey import cache_key


def make_purger(store: PurgeStore, settings: Cdn, served_by: str) -> Purger:
    """For `PURGE` on the site. `served_by`: the node's name in X-Served-By."""
    access, target = purge_access(settings), purge_target(store, settings)
    return Purger(target, access, purge_ids(), served_by=served_by)


def purge_target(store: PurgeStore, settings: Cdn) -> Target:
    pops = [settings.pop, *(site.pop for site in settings.sites)]
    if settings.shield is not None:
        pops.append(settings.shield)
    return Target(store, cache_key, pops)


def purge_access(settings: Cdn) -> Access:
    if settings.service is None:
        return Access()
    return Access(settings.service.id, settings.service.tokens)


def purge_ids() -> PurgeIds:
    """Ids of this process."""
    return PurgeIds(os.getpid(), wall())
