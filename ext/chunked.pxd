# The chunked transfer coding. Nothing here touches Python.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum ChunkState:
    CHUNK_SIZE_FIRST, CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_SIZE_LF, CHUNK_DATA, CHUNK_DATA_CR,
    CHUNK_DATA_LF, CHUNK_TRAILERS, CHUNK_DONE

cdef struct Chunked:               # decoder state between reads
    uint64_t left                  # of the current chunk
    uint32_t extension_bytes       # so far in this message
    uint32_t extension_bytes_max
    uint32_t trailer_bytes_max
    uint8_t state                  # ChunkState
    uint8_t digits

cdef void chunked_start(Chunked *c, uint32_t extension_bytes_max,
                        uint32_t trailer_bytes_max) noexcept nogil
cdef int chunked_decode(Chunked *c, char *p, uint32_t size, char **payload,
                        uint32_t *payload_size) noexcept nogil
