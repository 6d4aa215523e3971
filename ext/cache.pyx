"""The settings of one cdn tier's cache as ready values; made by the worker, read by the steps."""
from libc.stdint cimport uint32_t

from ext.cachecontrol cimport D_NO_TRANSFORM
from ext.encoding cimport CODING_NONE
from ext.facts cimport Facts, field_of, read_facts
from ext.freshness cimport FASTLY, fastly_rules, rfc9111_rules
from ext.headers cimport HeaderId
from ext.http1 cimport BODY_NONE, Field


cdef class Cache:
    """`options` as edge/worker.py builds them: policy, default_ttl_s, max_object_bytes, pop, node,
    platform (of platform.Platform), compression (codings, types, extensions, min_size_bytes), and
    any further field of freshness.Rules under `rules`."""

    def __init__(self, Store store not None, Marks marks not None, dict options, purger):
        cdef uint32_t default_ttl_s = options["default_ttl_s"]
        self.store = store
        self.marks = marks
        self.purger = purger
        self.fastly = options["policy"] == FASTLY
        self.rules = fastly_rules(default_ttl_s) if self.fastly else rfc9111_rules(default_ttl_s)
        self.rules = {**self.rules, **options["rules"]}
        self.max_object_bytes = options["max_object_bytes"]
        self.node = options["node"]
        self.platform = Platform(options["platform"])
        compression = options["compression"]
        self.codings = frozenset(compression["codings"])
        self.types = frozenset(compression["types"])
        self.extensions = frozenset(compression["extensions"])
        self.squeeze_bytes_min = compression["min_size_bytes"]
        self.held = options["pop"].encode()
        self.pop.data = self.held
        self.pop.size = <uint32_t>len(self.held)

    cdef int choose_coding(self, const Head *request, const Head *response, int wanted,
                           bint *varies) except -1:
        """The Coding that edge is to apply to an answer that is stored. `varies` is set when
        another request would get it in another one, so that Accept-Encoding selects.

        Never twice: an answer that comes in a coding is left alone, and so is one that must not be
        transformed (RFC 9110 §7.7).
        """
        cdef const Field *f
        cdef Facts facts
        cdef bytes path
        varies[0] = False
        if (not self.codings or response.body == BODY_NONE
                or 0 <= response.content_length < self.squeeze_bytes_min
                or field_of(response, <int>HeaderId.CONTENT_ENCODING) != NULL):
            return CODING_NONE
        read_facts(response, 0, &facts)
        if facts.cache_control.seen & D_NO_TRANSFORM:
            return CODING_NONE
        f = field_of(response, <int>HeaderId.CONTENT_TYPE)
        if f == NULL or media_type(response.base + f.value, f.value_size) not in self.types:
            path = request.base[request.path:request.path + request.path_size]
            if path.split(b"?", 1)[0].rpartition(b".")[2].lower() not in self.extensions:
                return CODING_NONE
        varies[0] = True
        return wanted if wanted in self.codings else CODING_NONE


cdef bytes media_type(const char *p, uint32_t size):
    """Of a Content-Type, in lower case without its parameters."""
    return p[:size].split(b";", 1)[0].strip().lower()
