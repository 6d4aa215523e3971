# Cookies that keep a client at its server, as HAProxy's `cookie` does.
from libc.stdint cimport int64_t, uint8_t, uint32_t
from ext.arena cimport Arena
from ext.edits cimport Edits
from ext.fields cimport Text
from ext.http1 cimport Head

cdef enum CookieMode:
    COOKIE_INSERT, COOKIE_REWRITE, COOKIE_PREFIX

cdef enum CookieState:             # of the request; HAProxy's letters in a log
    COOKIE_NONE, COOKIE_VALID, COOKIE_INVALID, COOKIE_DOWN, COOKIE_EXPIRED, COOKIE_OLD

cdef struct CookieSeen:            # what a request brought
    bint done                      # it was looked at
    int server                     # index in the tier that it names; -1: none that may serve it
    uint8_t state                  # CookieState
    int64_t last_s                 # unix seconds that its value carries; 0: none
    int64_t first_s

cdef struct Regular:               # one server
    Text value                     # of its cookie; size 0: none
    int slot                       # in the arena

cdef class Cookie:
    cdef Arena arena
    cdef list held                 # keeps the texts alive
    cdef Regular *servers
    cdef int count
    cdef Text name, tail           # `tail`: the attributes behind the value
    cdef int mode
    cdef bint indirect, nocache, postonly, preserve
    cdef bint persist              # a server that is down is tried as well
    cdef int64_t maxidle_s, maxlife_s

    cdef Text _text(self, str text)
    cdef bint serves(self, int index) noexcept
    cdef int find(self, const char *p, uint32_t size) noexcept
    cdef bint read_dates(self, const char *p, uint32_t size, int64_t now_s,
                         CookieSeen *seen) noexcept
    cdef void read(self, const Head *head, int64_t now_s, CookieSeen *seen, Edits edits) noexcept
    cdef void look_at(self, const char *p, uint32_t size, int64_t now_s, CookieSeen *seen) noexcept
    cdef bint wants_insert(self, const CookieSeen *seen, int server, bint posted,
                           int64_t now_s) noexcept
    cdef bint write(self, const Head *answer, const CookieSeen *seen, int server, bint posted,
                    int64_t now_s, Edits edits) noexcept
    cdef bint insert(self, const CookieSeen *seen, int server, int64_t now_s, Edits edits) noexcept
    cdef bint alter(self, const Head *answer, uint32_t index, int server, Edits edits) noexcept
