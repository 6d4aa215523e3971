# Live-object counts of the debug build: `from ext.live cimport EDGE_LIVE_ADD, EDGE_LIVE_SUB`.
# Both are no-ops without EDGE_DEBUG=1 (see ext/debug.h).

cdef extern from "ext/debug.h" nogil:
    int EDGE_LIVE_ENABLED
    void EDGE_LIVE_ADD(const char *kind) noexcept
    void EDGE_LIVE_SUB(const char *kind) noexcept
    int EDGE_LIVE_USED() noexcept
    const char *EDGE_LIVE_NAME(int row) noexcept
    long EDGE_LIVE_COUNT(int row) noexcept
