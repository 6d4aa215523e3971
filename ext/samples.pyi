from collections.abc import Sequence

from ext.site import Site
from ext.sticktable import StickTable
from ext.upstream import Tier

class Scene:
    def __init__(
        self, site: Site, backends: Sequence[tuple[str, Tier]], tables: Sequence[StickTable]
    ) -> None: ...
