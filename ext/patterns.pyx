"""Patterns: what ACLs compare samples with.

Theory. A `Patterns` holds the values of one test, prepared when the configuration is read: texts
(folded to lower case where case is ignored), ranges of numbers, networks, or regular expressions.
Many exact texts stand in a hash table and networks are sorted, so that a file with thousands of
lines costs a request about as much as one line.

Regular expressions are POSIX extended ones, carried out by libc; nothing is allocated by them here,
but libc may. A sample is turned into what the match compares: a number as text and back.

Called by: rules, samples; edge/rules (regex_problem). Source: HAProxy 2.6 manual, section 7.1.
"""
import os

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from ext.digits cimport write_number
from ext.rulecodes cimport (
    M_BEG, M_BOOL, M_DIR, M_DOM, M_END, M_FOUND, M_INT, M_IP, M_LEN, M_REG, M_STR,
    T_ADDRESS, T_TEXT)
from ext.siphash cimport siphash64

cdef extern from "arpa/inet.h" nogil:
    const char *inet_ntop(int family, const void *address, char *text, unsigned size)
    int inet_pton(int family, const char *text, void *address)
    enum:
        AF_INET
        AF_INET6

cdef enum:
    FEW = 8                        # texts or networks that are compared one after the other
    FOLDED_BYTES = 1024            # longer samples are compared without a copy, byte by byte

cdef const char *EMPTY = b""
cdef uint8_t[12] MAPPED
memcpy(MAPPED, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)

FOREIGN = {                        # of other dialects, which libc would read as something else
    "(?": "`(?...)` is not POSIX: groups are (a|b), and -i ignores case",
    "*?": "lazy `*?` is not POSIX",
    "+?": "lazy `+?` is not POSIX",
    "\\D": "write [^0-9] for \\D",
    "\\K": "\\K is not POSIX",
    "\\Q": "\\Q is not POSIX",
    "\\h": "write [ \\t] for \\h",
}


def regex_problem(bytes pattern, bint ignores_case):
    """What is wrong with a regular expression; an empty text if nothing is."""
    text = pattern.decode("latin-1")
    for sign, problem in FOREIGN.items():
        if sign in text:
            return problem
    try:
        Regex(pattern, ignores_case)
    except ValueError as error:
        return str(error)
    return ""


cdef bytes posix_of(bytes pattern):
    """`\\d` is the one word of Perl's that everybody writes."""
    inside = 0
    out = bytearray()
    at = 0
    while at < len(pattern):
        char = pattern[at:at + 1]
        if char == b"\\" and at + 1 < len(pattern):
            digits = b"0-9" if inside else b"[0-9]"
            out += digits if pattern[at + 1:at + 2] == b"d" else pattern[at:at + 2]
            at += 2
            continue
        inside = 1 if char == b"[" else 0 if char == b"]" else inside
        out += char
        at += 1
    return bytes(out)


cdef class Regex:
    """A compiled POSIX extended regular expression."""

    def __init__(self, bytes pattern, bint ignores_case=False):
        cdef char said[128]
        cdef int code
        cdef bytes translated
        if b"\0" in pattern:
            raise ValueError("it has a NUL")
        translated = posix_of(pattern)
        code = regcomp(&self.compiled, translated,
                       REG_EXTENDED | (REG_ICASE if ignores_case else 0))
        if code:
            regerror(code, &self.compiled, said, sizeof(said))
            raise ValueError((<bytes>said).decode("latin-1"))
        self.usable = True

    def __dealloc__(self):
        if self.usable:
            regfree(&self.compiled)

    cdef bint find(self, const Text *text, uint32_t at, regmatch_t *found) noexcept:
        """The first match from `at` on; `found` has GROUPS_MAX places, all from the beginning."""
        found[0].rm_so = <int>at
        found[0].rm_eo = <int>text.size
        # glibc wants a pointer even for nothing.
        return regexec(&self.compiled, text.data if text.size else EMPTY, GROUPS_MAX, found,
                       REG_STARTEND) == 0


# -- samples as what they are compared as ---------------------------------------------------------

cdef Text as_text(const Sample *sample, char *room) noexcept:
    """`room` has DIGITS_BYTES."""
    cdef Text text
    cdef char *o = room
    if sample.type == T_TEXT:
        return sample.text
    text.data = room
    if sample.type == T_ADDRESS:
        if memcmp(sample.address, MAPPED, 12) == 0:
            inet_ntop(AF_INET, sample.address + 12, room, DIGITS_BYTES)
        else:
            inet_ntop(AF_INET6, sample.address, room, DIGITS_BYTES)
        text.size = 0
        while room[text.size]:
            text.size += 1
        return text
    if sample.number < 0:
        o[0] = b'-'
        o += 1
        o += write_number(o, <uint64_t>0 - <uint64_t>sample.number)
    else:
        o += write_number(o, <uint64_t>sample.number)
    text.size = <uint32_t>(o - room)
    return text


cdef bint read_number(const Text *text, int64_t *number, bint whole) noexcept:
    """The decimal number that a text is, or (not `whole`) begins with; 18 digits at most."""
    cdef uint32_t i = 0, digits = 0
    cdef int64_t n = 0
    cdef bint negative = text.size > 0 and text.data[0] == b'-'
    if negative or (text.size > 0 and text.data[0] == b'+'):
        i = 1
    while i < text.size and 48 <= text.data[i] <= 57 and digits < 18:
        n = n * 10 + (text.data[i] - 48)
        i += 1
        digits += 1
    if digits == 0 or (whole and i < text.size):
        return False
    number[0] = -n if negative else n
    return True


cdef bint as_number(const Sample *sample, int64_t *number) noexcept:
    if sample.type == T_TEXT:
        return read_number(&sample.text, number, True)
    if sample.type == T_ADDRESS:
        return False
    number[0] = sample.number
    return True


cdef bint as_address(const Sample *sample, uint8_t *address) noexcept:
    cdef char text[48]
    if sample.type == T_ADDRESS:
        memcpy(address, sample.address, 16)
        return True
    if sample.type != T_TEXT or not sample.text.size or sample.text.size >= sizeof(text):
        return False
    memcpy(text, sample.text.data, sample.text.size)
    text[sample.text.size] = 0
    if inet_pton(AF_INET, text, address + 12) == 1:
        memcpy(address, MAPPED, 12)
        return True
    return inet_pton(AF_INET6, text, address) == 1


# -- texts -----------------------------------------------------------------------------------------

cdef inline unsigned char lower(unsigned char c) noexcept:
    return c | 0x20 if 65 <= c <= 90 else c


cdef bint same(const char *p, const Text *pattern, bint ignores_case) noexcept:
    """Do the bytes at `p` equal the pattern's?"""
    cdef uint32_t i
    if not ignores_case:
        return memcmp(p, pattern.data, pattern.size) == 0
    for i in range(pattern.size):
        if lower(p[i]) != <unsigned char>pattern.data[i]:
            return False
    return True


cdef bint contains(const Text *text, const Text *pattern, bint ignores_case) noexcept:
    cdef uint32_t i
    if pattern.size > text.size:
        return False
    for i in range(text.size - pattern.size + 1):
        if same(text.data + i, pattern, ignores_case):
            return True
    return False


cdef inline bint delimits(char c, bint domain) noexcept:
    return c == b'/' or c == b'?' or (domain and (c == b'.' or c == b':'))


cdef bint contains_word(const Text *text, const Text *given, bint ignores_case,
                        bint domain) noexcept:
    """Is the pattern a part of the text between delimiters? Its own at its ends do not count."""
    cdef Text pattern = given[0]
    cdef uint32_t i
    while pattern.size and delimits(pattern.data[0], domain):
        pattern.data += 1
        pattern.size -= 1
    while pattern.size and delimits(pattern.data[pattern.size - 1], domain):
        pattern.size -= 1
    if not pattern.size or pattern.size > text.size:
        return False
    for i in range(text.size - pattern.size + 1):
        if ((i == 0 or delimits(text.data[i - 1], domain))
                and (i + pattern.size == text.size
                     or delimits(text.data[i + pattern.size], domain))
                and same(text.data + i, &pattern, ignores_case)):
            return True
    return False


# -- patterns --------------------------------------------------------------------------------------

cdef class Patterns:
    """The values of one test: `match` is a Match, the rest as edge/rules prepares it."""

    def __init__(self, int match, bint ignores_case=False, texts=(), ranges=(), networks=()):
        cdef int i = 0
        self.match = match
        self.ignores_case = ignores_case and match != M_REG
        if match == M_REG:
            self.held = [Regex(text, ignores_case) for text in texts]
            self.count = len(self.held)
            return
        self.held = [text.lower() if ignores_case else text for text in texts]
        self.count = len(self.held) or len(ranges) or len(networks)
        self.texts = <Text *>calloc(len(self.held) + 1, sizeof(Text))
        self.ranges = <Range *>calloc(len(ranges) + 1, sizeof(Range))
        self.networks = <Network *>calloc(len(networks) + 1, sizeof(Network))
        if self.texts == NULL or self.ranges == NULL or self.networks == NULL:
            raise MemoryError
        for i, text in enumerate(self.held):
            self.texts[i] = Text(<const char *>(<bytes>text), <uint32_t>len(text))
        for i, (low, high) in enumerate(ranges):
            self.ranges[i] = Range(low, high)
        ordered = sorted((bits, address) for address, bits in networks)
        for i, (bits, address) in enumerate(ordered):
            memcpy(self.networks[i].address, <const char *>(<bytes>address), 16)
            self.networks[i].bits = bits
        if match == M_STR and self.count > FEW:
            self.fill_table()

    def __dealloc__(self):
        free(self.texts)
        free(self.ranges)
        free(self.networks)
        free(self.table)

    def fill_table(self):
        """A hash table of the texts, at most half full; keyed, for clients choose the samples."""
        cdef uint32_t size = 16, at
        cdef int i
        cdef bytes key = os.urandom(16)
        memcpy(self.hash_key, <const char *>key, 16)
        while size < 2 * <uint32_t>self.count:
            size *= 2
        self.table = <uint32_t *>calloc(size, sizeof(uint32_t))
        if self.table == NULL:
            raise MemoryError
        self.table_mask = size - 1
        for i in range(self.count):
            at = <uint32_t>siphash64(self.hash_key, self.texts[i].data, self.texts[i].size)
            while self.table[at & self.table_mask]:
                at += 1
            self.table[at & self.table_mask] = <uint32_t>i + 1

    cdef bint accepts(self, const Sample *sample) noexcept:
        """Does one of the patterns match?"""
        cdef char room[DIGITS_BYTES]
        cdef uint8_t address[16]
        cdef int64_t number
        cdef Text text
        if self.match == M_FOUND:
            return True
        if self.match == M_BOOL:
            return as_number(sample, &number) and number != 0
        if self.match == M_INT:
            return as_number(sample, &number) and self.accepts_number(number)
        if self.match == M_IP:
            return as_address(sample, address) and self.accepts_address(address)
        text = as_text(sample, room)
        if self.match == M_LEN:
            return self.accepts_number(text.size)
        return self.accepts_text(&text)

    cdef bint accepts_number(self, int64_t number) noexcept:
        cdef int i
        for i in range(self.count):
            if self.ranges[i].low <= number <= self.ranges[i].high:
                return True
        return False

    cdef bint accepts_address(self, const uint8_t *address) noexcept:
        """Networks of one prefix stand together, sorted: one search for each prefix there is."""
        cdef uint8_t masked[16]
        cdef int begin = 0, end, low, high, middle, order
        while begin < self.count:
            mask_address(address, self.networks[begin].bits, masked)
            end = begin
            if self.count <= FEW:
                end += 1
            else:
                end = last_of(self.networks, begin, self.count)
            low = begin
            high = end
            while low < high:
                middle = (low + high) // 2
                order = memcmp(self.networks[middle].address, masked, 16)
                if order == 0:
                    return True
                if order < 0:
                    low = middle + 1
                else:
                    high = middle
            begin = end
        return False

    cdef bint accepts_text(self, const Text *text) noexcept:
        cdef regmatch_t found[GROUPS_MAX]
        cdef const Text *pattern
        cdef int i
        if self.match == M_REG:
            for i in range(self.count):
                if (<Regex>self.held[i]).find(text, 0, found):
                    return True
            return False
        if self.table != NULL and (not self.ignores_case or text.size <= FOLDED_BYTES):
            return in_table(self, text)
        for i in range(self.count):
            pattern = &self.texts[i]
            if self.match == M_DIR or self.match == M_DOM:    # its own delimiters do not count
                if contains_word(text, pattern, self.ignores_case, self.match == M_DOM):
                    return True
            elif pattern.size > text.size:
                continue
            elif self.match == M_STR:
                if pattern.size == text.size and same(text.data, pattern, self.ignores_case):
                    return True
            elif self.match == M_BEG:
                if same(text.data, pattern, self.ignores_case):
                    return True
            elif self.match == M_END:
                if same(text.data + text.size - pattern.size, pattern, self.ignores_case):
                    return True
            elif contains(text, pattern, self.ignores_case):
                return True
        return False


cdef bint in_table(Patterns patterns, const Text *text) noexcept:
    cdef char folded[FOLDED_BYTES]
    cdef Text key = text[0]
    cdef const Text *held
    cdef uint32_t at, i
    if patterns.ignores_case:
        for i in range(text.size):
            folded[i] = <char>lower(text.data[i])
        key.data = folded
    at = <uint32_t>siphash64(patterns.hash_key, key.data, key.size)
    while patterns.table[at & patterns.table_mask]:
        held = &patterns.texts[patterns.table[at & patterns.table_mask] - 1]
        if held.size == key.size and memcmp(held.data, key.data, key.size) == 0:
            return True
        at += 1
    return False


cdef void mask_address(const uint8_t *address, int bits, uint8_t *out) noexcept:
    cdef int i, kept
    for i in range(16):
        kept = min(max(bits - 8 * i, 0), 8)
        out[i] = address[i] & <uint8_t>(0xFF00 >> kept)


cdef int last_of(const Network *networks, int begin, int count) noexcept:
    """Behind the last network with the prefix of the one at `begin`: by halving."""
    cdef int low = begin, high = count, middle
    while low < high:
        middle = (low + high) // 2
        if networks[middle].bits == networks[begin].bits:
            low = middle + 1
        else:
            high = middle
    return low


# -- facade for tests ------------------------------------------------------------------------------

def accepts_for_test(Patterns patterns, bytes text=None, number=None, address=None):
    """Does a sample match: a text, a number, or an address of 16 bytes?"""
    cdef Sample sample
    if text is not None:
        sample.type = T_TEXT
        sample.text = Text(<const char *>text, <uint32_t>len(text))
    elif number is not None:
        sample.type = 1
        sample.number = number
    else:
        sample.type = T_ADDRESS
        memcpy(sample.address, <const char *>(<bytes>address), 16)
    return bool(patterns.accepts(&sample))
