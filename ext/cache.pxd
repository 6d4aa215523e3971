# One cdn tier's cache, as ready values.
from libc.stdint cimport int64_t, uint64_t
from ext.deliver cimport Marks
from ext.forward cimport Text
from ext.freshness cimport Rules
from ext.http1 cimport Head
from ext.platform cimport Platform
from ext.store cimport Store

cdef class Cache:
    cdef Store store
    cdef Rules rules
    cdef Marks marks
    cdef bytes held                # keeps the text alive
    cdef Text pop
    cdef readonly str node         # this machine's name in the site
    cdef Platform platform
    cdef uint64_t max_object_bytes
    cdef bint fastly               # policy: HEAD is fetched as GET, a 500 or 503 asked for again
    cdef object purger             # (host, path, fields) -> a whole answer
    cdef frozenset codings         # encoding.Coding that edge applies; empty: none
    cdef frozenset types           # media types of answers that are compressed
    cdef frozenset extensions      # and the extensions of paths
    cdef int64_t squeeze_bytes_min  # shortest body that is compressed

    cdef int choose_coding(self, const Head *request, const Head *response, int wanted,
                           bint *varies) except -1
