# Words that several processes read and write at once. Loads acquire, stores release, and what
# both reads and writes is sequentially consistent: the store's leases rely on that.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #define edge_load8(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define edge_load8_sc(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
    #define edge_load32(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define edge_load64(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define edge_store8(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define edge_store32(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define edge_store64(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define edge_add32(p, v) __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL)
    #define edge_add64(p, v) __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL)
    #define edge_or64(p, v) __atomic_or_fetch((p), (v), __ATOMIC_SEQ_CST)
    #define edge_and64(p, v) __atomic_and_fetch((p), (v), __ATOMIC_SEQ_CST)
    #define edge_swap32(p, was, v) __sync_bool_compare_and_swap((p), (was), (v))
    #define edge_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    /* Orders what this process has done when it is killed; costs no instruction. */
    #define edge_in_order() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    """
    uint8_t edge_load8(uint8_t *p) noexcept nogil
    uint8_t edge_load8_sc(uint8_t *p) noexcept nogil
    uint32_t edge_load32(uint32_t *p) noexcept nogil
    uint64_t edge_load64(uint64_t *p) noexcept nogil
    void edge_store8(uint8_t *p, uint8_t v) noexcept nogil
    void edge_store32(uint32_t *p, uint32_t v) noexcept nogil
    void edge_store64(uint64_t *p, uint64_t v) noexcept nogil
    uint32_t edge_add32(uint32_t *p, uint32_t v) noexcept nogil
    bint edge_swap32(uint32_t *p, uint32_t was, uint32_t v) noexcept nogil
    uint64_t edge_add64(uint64_t *p, uint64_t v) noexcept nogil
    uint64_t edge_or64(uint64_t *p, uint64_t v) noexcept nogil
    uint64_t edge_and64(uint64_t *p, uint64_t v) noexcept nogil
    void edge_fence() noexcept nogil
    void edge_in_order() noexcept nogil
