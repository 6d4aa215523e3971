"""The primary key: which site of the CDN, which host, which path with its query.

Two requests have the same key when RFC 9110 §4.2.3 calls their targets equivalent and no more is
known of them: the host in lower case without the scheme's default port, the empty path as `/`. The
method is no part of it (HEAD is answered from GET). The text is `POP SP host path`; neither a site
nor a host can hold a space or a slash, so different targets never make the same text.

Called by: session (hash), purging (by URL). Pure byte functions.
"""
from libc.string cimport memcpy

cdef enum:
    DEFAULT_PORT_BYTES = 3         # ":80"


cdef inline uint32_t host_size(const char *host, uint32_t size) noexcept nogil:
    """Without the default port of http."""
    if (size > DEFAULT_PORT_BYTES and host[size - 3] == b':' and host[size - 2] == b'8'
            and host[size - 1] == b'0'):
        return size - DEFAULT_PORT_BYTES
    return size


cdef uint32_t key_room(const Head *request, uint32_t pop_size) noexcept nogil:
    return pop_size + request.host_size + request.path_size + 2


cdef uint32_t put_key(const char *pop, uint32_t pop_size, const char *host, uint32_t host_bytes,
                      const char *path, uint32_t path_size, char *out) noexcept nogil:
    cdef char *o = out
    cdef uint32_t i, n = host_size(host, host_bytes)
    cdef char c
    memcpy(o, pop, pop_size)
    o += pop_size
    o[0] = b' '
    o += 1
    for i in range(n):
        c = host[i]
        o[i] = c + 32 if b'A' <= c <= b'Z' else c
    o += n
    if path_size == 0:
        o[0] = b'/'
        return <uint32_t>(o + 1 - out)
    memcpy(o, path, path_size)
    return <uint32_t>(o + path_size - out)


cdef uint32_t write_key(const Head *request, const char *pop, uint32_t pop_size,
                        char *out) noexcept nogil:
    """The key of a request's target; its size. `out` has key_room bytes."""
    return put_key(pop, pop_size, request.base + request.host, request.host_size,
                   request.base + request.path, request.path_size, out)


def cache_key(bytes pop, bytes host, bytes path):
    """The same from parts, for purges: a host as in the Host field, a path with its query."""
    out = bytearray(len(pop) + len(host) + len(path) + 2)
    used = put_key(pop, <uint32_t>len(pop), host, <uint32_t>len(host), path,
                   <uint32_t>len(path), out)
    return bytes(out[:used])
