from enum import IntEnum

class SampleType(IntEnum):
    T_BOOL = 0
    T_INT = 1
    T_TEXT = 2
    T_ADDRESS = 3

class Fetch(IntEnum):
    F_BOOL = 0
    F_INT = 1
    F_TEXT = 2
    F_SRC = 3
    F_METHOD = 4
    F_PATH = 5
    F_QUERY = 6
    F_URL = 7
    F_BASE = 8
    F_URL_PARAM = 9
    F_HDR = 10
    F_FHDR = 11
    F_HDR_CNT = 12
    F_FHDR_CNT = 13
    F_COOKIE = 14
    F_SET_COOKIE = 15
    F_STATUS = 16
    F_NBSRV = 17
    F_SRV_IS_UP = 18
    F_BE_CONN = 19
    F_QUEUE = 20
    F_RAND = 21
    F_VAR = 22
    F_STOPPING = 23
    F_SC = 24
    F_SC_TRACKED = 25
    F_SC_INC_GPC0 = 26
    F_DATE = 27
    F_SRV_CONN = 28
    F_VERSION = 29

class Converter(IntEnum):
    C_LOWER = 0
    C_UPPER = 1
    C_FIELD = 2
    C_WORD = 3
    C_LENGTH = 4
    C_URL_DEC = 5
    C_REGSUB = 6
    C_BYTES = 7
    C_ADD = 8
    C_SUB = 9
    C_MUL = 10
    C_DIV = 11
    C_MOD = 12
    C_HOST_ONLY = 13
    C_PORT_ONLY = 14
    C_INT = 15
    C_ADDRESS = 16
    C_NOT = 17
    C_BOOL = 18

class Match(IntEnum):
    M_FOUND = 0
    M_BOOL = 1
    M_INT = 2
    M_STR = 3
    M_BEG = 4
    M_END = 5
    M_SUB = 6
    M_DIR = 7
    M_DOM = 8
    M_REG = 9
    M_LEN = 10
    M_IP = 11

class Action(IntEnum):
    A_ALLOW = 0
    A_DENY = 1
    A_TARPIT = 2
    A_REJECT = 3
    A_SILENT_DROP = 4
    A_RETURN = 5
    A_REDIRECT_LOCATION = 6
    A_REDIRECT_PREFIX = 7
    A_REDIRECT_SCHEME = 8
    A_SET_HEADER = 9
    A_ADD_HEADER = 10
    A_DEL_HEADER = 11
    A_REPLACE_HEADER = 12
    A_REPLACE_VALUE = 13
    A_SET_PATH = 14
    A_SET_QUERY = 15
    A_SET_URI = 16
    A_SET_METHOD = 17
    A_SET_VAR = 18
    A_UNSET_VAR = 19
    A_TRACK = 20
    A_SC_INC_GPC0 = 21
    A_PRIORITY_CLASS = 22
    A_PRIORITY_OFFSET = 23
    A_DISABLE_L7_RETRY = 24
    A_TIMEOUT_SERVER = 25
    A_TIMEOUT_TUNNEL = 26
    A_USE_BACKEND = 27
    A_SET_SRC = 28
    A_SET_PATHQ = 29
    A_REPLACE_PATH = 30
    A_REPLACE_URI = 31

class RedirectFlag(IntEnum):
    R_DROP_QUERY = 1
    R_APPEND_SLASH = 2

class Counter(IntEnum):
    N_HTTP_REQ_RATE = 0
    N_HTTP_REQ_CNT = 1
    N_HTTP_ERR_RATE = 2
    N_HTTP_ERR_CNT = 3
    N_CONN_CUR = 4
    N_CONN_RATE = 5
    N_CONN_CNT = 6
    N_GPC0 = 7
    N_GPC0_RATE = 8

class RuleLimit(IntEnum):
    VARIABLES_MAX = 32
    TRACKED_MAX = 3
