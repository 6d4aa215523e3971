# READ FIRST with session.pyx: the steps of a request. Its state is ext.client's and ext.cached's.
from ext.cached cimport Cached

cdef class Session(Cached):
    pass
