# Where the steps meet the rules of the haproxy tier.
from ext.client cimport Client

cdef enum:
    GO_ON = -2                     # no row: the step goes on

cdef int judge_request(Client s) except -1
cdef int judge_answer(Client s) except -1
cdef int end_rules(Client s) except -1
