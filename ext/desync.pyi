from collections.abc import Mapping
from enum import IntEnum

from ext.limits import Refused

class DesyncMode(IntEnum):
    DESYNC_NONE = 0
    DESYNC_MONITOR = 1
    DESYNC_DEFENSIVE = 2
    DESYNC_STRICTEST = 3

class DesyncClass(IntEnum):
    COMPLIANT = 0
    ACCEPTABLE = 1
    AMBIGUOUS = 2
    SEVERE = 3

class DesyncReason(IntEnum):
    DESYNC_OK = 0
    NON_COMPLIANT_HEADER = 1
    GET_HEAD_ZERO_CONTENT_LENGTH = 2
    UNDEFINED_CONTENT_LENGTH = 3
    UNDEFINED_TRANSFER_ENCODING = 4
    SUSPICIOUS_HEADER = 5

class DesyncVerdict(IntEnum):
    DESYNC_PASS = 0
    DESYNC_CLOSE = 1
    DESYNC_REFUSE = 2

REASON_NAMES: Mapping[int, str]
CLASS_NAMES: Mapping[int, str]
REFUSED_REASONS: Mapping[Refused, tuple[int, str]]

def desync_for_test(data: bytes, mode: int) -> tuple[str, str, DesyncVerdict]: ...
