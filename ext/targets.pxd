# What an Application Load Balancer does with a request before it picks, and with its answer.
from ext.client cimport Client
from ext.upstream cimport Tier

cdef int meet(Client s, Tier elb) except -1
cdef int give_sticky_cookie(Client s, Tier elb) except -1
