"""Surrogate keys: names that an answer has, so that it can be purged by them (Fastly).

Theory. A key is kept as a keyed 64-bit hash, so an object costs eight bytes for each whatever their
names, and nobody can choose a name that purges something else.

Called by: store. Touches no Python but the facade.
"""
from ext.headers cimport HeaderId
from ext.http1 cimport HeadLimits, M_GET, parse_response_head
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX, SURROGATE_KEY_BYTES_MAX
from ext.siphash cimport siphash64


cdef uint64_t surrogate_hash(const uint64_t *hash_key, const char *key,
                             uint32_t size) noexcept nogil:
    """Never 0, which is no key."""
    cdef uint64_t hash = siphash64(hash_key, key, size)
    return hash if hash else 1


cdef inline bint is_space(char c) noexcept nogil:
    return c == b' ' or c == b'\t'


cdef uint32_t surrogate_hashes(const uint64_t *hash_key, const Head *response,
                               uint64_t *hashes) noexcept nogil:
    """Of all Surrogate-Key fields: how many. As at Fastly, a key that is too long ends its field,
    and so does the end of what a header may hold; a key that is cut there is none. `hashes` has
    room for SURROGATE_KEYS_MAX."""
    cdef const char *p = response.base
    cdef uint32_t i, at, end, cut, mark, count = 0, left = SURROGATE_KEYS_BYTES_MAX
    for i in range(response.count):
        if response.fields[i].id != HeaderId.SURROGATE_KEY:
            continue
        at = response.fields[i].value
        end = at + response.fields[i].value_size
        cut = at + min(response.fields[i].value_size, left)
        left -= cut - at
        while at < cut and count < SURROGATE_KEYS_MAX:
            if is_space(p[at]):
                at += 1
                continue
            mark = at
            while at < end and not is_space(p[at]):
                at += 1
            if at > cut or at - mark > SURROGATE_KEY_BYTES_MAX:
                break
            hashes[count] = surrogate_hash(hash_key, p + mark, at - mark)
            count += 1
    return count


def surrogate_hashes_for_test(bytes response):
    """With the key 0."""
    cdef uint64_t[2] hash_key = [0, 0]
    cdef uint64_t[SURROGATE_KEYS_MAX] hashes
    cdef HeadLimits limits
    cdef Head answer
    limits.request_line_bytes = limits.header_bytes = HEAD_BYTES_MAX
    limits.header_count = FIELDS_MAX
    if parse_response_head(response, <uint32_t>len(response), &limits, M_GET, &answer) <= 0:
        raise ValueError("not one whole answer head")
    count = surrogate_hashes(hash_key, &answer, hashes)
    return [hashes[i] for i in range(count)]


def surrogate_hash_for_test(bytes key):
    """With the key 0."""
    cdef uint64_t[2] hash_key = [0, 0]
    return surrogate_hash(hash_key, key, <uint32_t>len(key))
