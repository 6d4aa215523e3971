from enum import IntEnum

from ext.arena import Arena

class Observed(IntEnum):
    L4_OK = 0
    L4_ERROR = 1
    HTTP_OK = 2
    HTTP_WRONG_STATUS = 3
    HTTP_BAD_HEAD = 4
    HTTP_BAD_BODY = 5
    HTTP_READ_TIMEOUT = 6
    HTTP_CLOSED = 7

class Layer(IntEnum):
    LAYER_NONE = 0
    LAYER_4 = 4
    LAYER_7 = 7

def verdict_for_test(layer: int, what: int) -> int: ...
def observed_status_for_test(status: int) -> int: ...
def observe_for_test(
    arena: Arena, slot: int, layer: int, limit: int, marks_down: bool, what: int
) -> None: ...
