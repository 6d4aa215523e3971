# Cookies that keep a client at its target, as an Application Load Balancer's AWSALB does.
from libc.stdint cimport int64_t, uint64_t
from ext.arena cimport Arena
from ext.edits cimport Edits
from ext.fields cimport Text
from ext.http1 cimport Head

cdef enum StickyFound:             # else the index of a target
    STICKY_NONE = -1               # no cookie of ours
    STICKY_LOST = -2               # one that names no target which may be used

cdef struct Member:                # one target
    uint64_t id                    # keyed hash of its name
    int slot                       # in the arena

cdef class Stickiness:
    cdef Arena arena
    cdef Member *members
    cdef int count
    cdef bint by_app               # AWSALBAPP-0 beside the application's own cookie
    cdef Text app                  # name of that
    cdef int64_t duration_s
    cdef list held                 # keeps the texts alive
    cdef Text tail, cors_tail      # the attributes; made anew each second
    cdef uint64_t seal_key[2]
    cdef uint64_t mac_key[2]
    cdef uint64_t state            # xorshift64*: nonces

    cdef int find(self, const Head *head, int64_t now_s) noexcept
    cdef int read(self, const char *p, uint64_t size, int64_t now_s) noexcept
    cdef bint write(self, const Head *answer, int index, int found, int64_t now_s,
                    Edits edits) noexcept
    cdef bint add(self, const char *name, const char *value, const Text *tail,
                  Edits edits) noexcept
    cdef void seal(self, int index, int64_t now_s, char *out) noexcept
    cdef bint sets_app_cookie(self, const Head *answer) noexcept
    cdef uint64_t draw(self) noexcept
