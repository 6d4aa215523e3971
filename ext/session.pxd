# READ FIRST with session.pyx: the steps of a request. Its state is ext.client's.
from ext.client cimport Client

cdef class Session(Client):
    pass
