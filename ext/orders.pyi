from ext.arena import Arena
from ext.site import Site
from ext.upstream import Tier

class Orders:
    def __init__(self, site: Site, arena: Arena, row: int, tiers: list[Tier]) -> None: ...
    def look(self) -> None: ...
