# Connections that are relayed as they are: HAProxy's `mode tcp`.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from ext.hashkey cimport HashKey
from ext.limits cimport TRIED_MAX
from ext.proxyline cimport ProxyPeers
from ext.site cimport Site
from ext.tunnel cimport Tunnel
from ext.upstream cimport Connecting, Server, Tier

cdef enum TcpPhase:
    GREETING                       # a PROXY header comes first
    QUEUED                         # for a free slot at a server
    TURN                           # a moment before the same server is tried again
    CONNECTING
    RELAYED                        # both sides stand
    OVER                           # counted out; what is held is still sent

cdef class TcpEntry:               # one listener; called, it makes a session
    cdef Site site
    cdef Tier tier
    cdef HashKey key               # of the client's address; None: the balance needs none
    cdef ProxyPeers proxy          # who must send a PROXY header; None: nobody
    cdef uint32_t header_ms        # longest wait for it
    cdef uint32_t silence_ms       # longest silence of both directions
    cdef uint32_t client_fin_ms    # the same when the server has ended its direction; 0: no other
    cdef uint32_t server_fin_ms    # when the client has

cdef class TcpSession(Tunnel):
    cdef Site site
    cdef TcpEntry entry
    cdef uint8_t phase             # TcpPhase
    cdef bint counted              # in TC_IN_FLIGHT
    cdef Connecting connecting
    cdef Server same               # without redispatch: the server that a retry goes to
    cdef uint16_t tried[TRIED_MAX]
    cdef uint8_t tried_count
    cdef int attempts_left
    cdef uint64_t queue_due_ms     # 0 = has not queued yet

    cdef int begin(self) except -1
    cdef int choose(self) except -1
    cdef int wait_for_slot(self) except -1
    cdef int connect(self) except -1
    cdef int attempt_failed(self) except -1
    cdef int finish(self) except -1
    cdef int give_up(self) except -1
