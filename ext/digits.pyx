"""Numbers as HTTP writes them. Called per request by forward and body; touches no Python."""
from libc.string cimport memcpy


cdef uint32_t write_number(char *out, uint64_t n) noexcept nogil:
    """Decimal digits; at most 20 bytes."""
    cdef char digits[20]
    cdef int i = 20
    while True:
        i -= 1
        digits[i] = <char>(48 + n % 10)
        n //= 10
        if n == 0:
            break
    memcpy(out, &digits[i], 20 - i)
    return 20 - i


cdef uint32_t write_hex(char *out, uint64_t n) noexcept nogil:
    """Hexadecimal digits; at most 16 bytes."""
    cdef char digits[16]
    cdef int i = 16, d
    while True:
        i -= 1
        d = n & 15
        digits[i] = <char>(48 + d if d < 10 else 87 + d)
        n >>= 4
        if n == 0:
            break
    memcpy(out, &digits[i], 16 - i)
    return 16 - i


def decimal_for_test(uint64_t n):
    cdef char out[20]
    return out[:write_number(out, n)]


def hex_for_test(uint64_t n):
    cdef char out[16]
    return out[:write_hex(out, n)]
