# Parts of the steps that keep a client at its server.
from ext.client cimport Client
from ext.upstream cimport Tier

cdef int follow_cookie(Client s, Tier tier) except -1
cdef int give_cookie(Client s) except -1
