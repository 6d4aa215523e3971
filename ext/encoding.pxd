# Codings of bodies, and the one of them that a request is answered in.
from ext.http1 cimport Head

cdef enum Coding:                  # of a body: what edge itself has applied
    CODING_NONE, CODING_GZIP, CODING_BROTLI

cdef int normal_encoding(const Head *request) noexcept nogil
