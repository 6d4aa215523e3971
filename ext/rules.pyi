from typing import Any

from ext.samples import Scene

class Rules:
    def __init__(self, scene: Scene, program: Any) -> None: ...
