# A TCP connection of the data path: reads land in one buffer per worker, writes go to the socket
# at once and to uvloop's transport only when the kernel takes no more.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec
from ext.readiness cimport Readiness, Watched
from ext.timers cimport Wheel

cdef struct Bytes:                 # owned bytes, added behind and taken in front
    char *base                     # of the memory; NULL when nothing is held
    char *data                     # the first byte held
    uint32_t size
    uint32_t room                  # of the memory

cdef class Connection(Watched):
    cdef object transport          # NULL-like None before connection_made and after the loss
    cdef Readiness readiness
    cdef Wheel wheel
    cdef bint blocked              # the transport holds bytes: resume_writing will come
    cdef bint broken               # a write failed: the read side will tell why
    cdef bint paused               # reading is paused
    cdef bint deaf                 # FIN or an error was read: nothing more comes
    cdef bint was_reset
    cdef bint lost                 # connection_lost was called
    cdef bint closing
    cdef Bytes kept                # bytes read but not yet used
    cdef uint64_t unsent           # at the last look of `progress`

    # up-calls, overridden by the session and by node connections
    cdef int on_made(self) except -1
    cdef int on_data(self, char *p, uint32_t n) except -1
    cdef int on_eof(self) except -1
    cdef int on_lost(self, bint reset) except -1
    cdef int on_writable(self) except -1

    # down-calls
    cdef int send(self, iovec *parts, int count) except -1
    cdef int send_bytes(self, bytes data) except -1
    cdef bint progress(self) except -1
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef int close(self) except -1
    cdef int abort(self) except -1
    cdef int half_close(self) except -1
    cdef int reset(self) except -1

cdef int keep(Bytes *b, const char *p, uint32_t n) except -1
cdef void drop_front(Bytes *b, uint32_t n) noexcept
cdef void release(Bytes *b) noexcept
