"""Compression of bodies on their way into the cache, by zlib and Brotli.

A body is compressed once, when it is fetched, and stored so; a request that takes another coding is
another variant. Levels: what a proxy can afford for each fetch, since a stored page is read often
but also fetched again often (nginx, Fastly and Cloudflare use about the same).
"""
import zlib

import brotli

from ext.encoding cimport CODING_BROTLI

cdef enum:
    GZIP_LEVEL = 6                 # zlib's own default
    GZIP_WINDOW = 31               # 32 KiB, with the header and trailer of gzip (RFC 1952)
    BROTLI_QUALITY = 5             # about gzip's time at its level 6, and smaller


cdef class Squeezer:
    """One body. `feed` may run in a thread: it holds no lock of the interpreter while it works."""

    def __init__(self, int coding):
        self.coding = coding
        if coding == CODING_BROTLI:
            self.made = brotli.Compressor(quality=BROTLI_QUALITY)
        else:
            self.made = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)

    def feed(self, bytes data, bint last) -> bytes:
        """The compressed bytes that are ready after `data`; all of them when it is the last."""
        if self.coding == CODING_BROTLI:
            ready = self.made.process(data) if data else b""
            return ready + self.made.finish() if last else ready
        ready = self.made.compress(data)
        return ready + self.made.flush() if last else ready
