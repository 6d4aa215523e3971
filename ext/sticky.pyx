"""Stickiness: a client goes on with the target that it had, as with ALB's AWSALB and AWSALBAPP-0.

Theory. The cookie is opaque: what it says (which target, until when) is for us alone, and nobody
else can make or change one. 30 bytes, 40 digits of base64:

    nonce 8 | sealed 14: kind 1, expiry 5 (unix seconds), target 8 | tag 8

Sealed is the plain text XORed with SipHash-128 of the nonce under one key, the tag is SipHash-64 of
all before it under another. Both keys come from one secret that all workers and generations share,
so a cookie outlives each of them. A target is known by a keyed hash of its name, not by its place.
A cipher from a library would be a Python call per request; this takes about 150 ns and is no
weaker where it counts: a forger must guess 64 bits against a live server.

What does not decode, is over, or names a target that is gone, draining or unhealthy: the request is
balanced, and its answer has a new cookie.

Called by: targets (steps elb, answer). Source: AWS's guide, "Sticky sessions".
"""
import email.utils
import hashlib
import os

from libc.stdlib cimport calloc, free
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy

from ext.arena cimport ServerSlot, edge_load32
from ext.edits cimport EDIT_ADD, edited_room, write_edited
from ext.fields cimport put
from ext.headers cimport HeaderId
from ext.http1 cimport Field, HeadLimits, M_GET, parse_request_head, parse_response_head
from ext.limits cimport AdminState, FIELDS_MAX, HEAD_BYTES_MAX, ServerState
from ext.siphash cimport siphash64, siphash128

cdef enum:
    NONCE = 8
    PLAIN = 14
    TAGGED = NONCE + PLAIN
    RAW = TAGGED + 8
    DIGITS = 40                    # RAW in base64
    KIND_LB = 1
    KIND_APP = 2
    TEXT_MAX = 512                 # of one Set-Cookie

WEEK_S = 7 * 86400                 # AWS: what the browser is told, whatever the duration

cdef const char *ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef signed char values[256]

cdef const char *LB = b"AWSALB"
cdef const char *CORS = b"AWSALBCORS"
cdef const char *APP = b"AWSALBAPP-0"


cdef int fill_values() except -1:
    cdef int i
    for i in range(256):
        values[i] = -1
    for i in range(64):
        values[<unsigned char>ALPHABET[i]] = <signed char>i
    return 0


fill_values()


cdef void encode(const unsigned char *raw, char *out) noexcept nogil:
    cdef int i, o = 0
    cdef uint32_t word
    for i in range(0, RAW, 3):
        word = <uint32_t>raw[i] << 16 | <uint32_t>raw[i + 1] << 8 | raw[i + 2]
        out[o] = ALPHABET[word >> 18]
        out[o + 1] = ALPHABET[word >> 12 & 63]
        out[o + 2] = ALPHABET[word >> 6 & 63]
        out[o + 3] = ALPHABET[word & 63]
        o += 4


cdef bint decode(const char *p, unsigned char *raw) noexcept nogil:
    cdef int i, j, o = 0
    cdef uint32_t word
    for i in range(0, DIGITS, 4):
        word = 0
        for j in range(4):
            if values[<unsigned char>p[i + j]] < 0:
                return False
            word = word << 6 | <uint32_t>values[<unsigned char>p[i + j]]
        raw[o] = <unsigned char>(word >> 16)
        raw[o + 1] = <unsigned char>(word >> 8 & 255)
        raw[o + 2] = <unsigned char>(word & 255)
        o += 3
    return True


cdef bint is_name(const char *p, const char *end, const char *name, uint32_t size) noexcept nogil:
    return end - p > size and p[size] == b'=' and memcmp(p, name, size) == 0


cdef class Stickiness:
    """The cookies of one target group. `targets`: (name, slot), in the tier's order. `app_cookie`:
    the application's own that makes a client sticky; None: ours alone does."""

    def __cinit__(self, Arena arena not None, list targets, bytes secret not None, *,
                  int64_t duration_s, bytes app_cookie=None):
        cdef bytes raw, name
        cdef bytes keys = hashlib.sha256(b"edge stickiness\0" + secret).digest()
        self.arena = arena
        self.count = len(targets)
        self.members = <Member *>calloc(max(1, self.count), sizeof(Member))
        if self.members == NULL:
            raise MemoryError
        self.duration_s = duration_s
        self.held = [app_cookie or b""]
        raw = self.held[0]
        self.by_app = app_cookie is not None
        self.app.data = raw
        self.app.size = <uint32_t>len(raw)
        memcpy(self.seal_key, <const char *>keys, 16)
        memcpy(self.mac_key, <const char *>keys + 16, 16)
        self.state = int.from_bytes(os.urandom(8), "little") | 1
        for i, (text, slot) in enumerate(targets):
            name = text.encode()
            self.members[i].id = siphash64(self.mac_key, name, <uint32_t>len(name))
            self.members[i].slot = slot

    def __dealloc__(self):
        free(self.members)

    def tell_date(self, double now):
        """Renew the attributes; the worker calls it every second."""
        cdef bytes tail, cors
        expires = email.utils.formatdate(now + WEEK_S, usegmt=True)
        tail = f"; Expires={expires}; Path=/".encode()
        cors = tail + b"; SameSite=None; Secure"
        self.held[1:] = [tail, cors]
        self.tail.data = tail
        self.tail.size = <uint32_t>len(tail)
        self.cors_tail.data = cors
        self.cors_tail.size = <uint32_t>len(cors)

    cdef uint64_t draw(self) noexcept:
        self.state ^= self.state >> 12
        self.state ^= self.state << 25
        self.state ^= self.state >> 27
        return self.state * 0x2545F4914F6CDD1DULL

    # -- requests ------------------------------------------------------------------------------

    cdef int find(self, const Head *head, int64_t now_s) noexcept:
        """The target that a request belongs to, or a StickyFound."""
        cdef uint32_t i
        cdef const Field *f
        cdef const char *p
        cdef const char *end
        cdef int found = STICKY_NONE, one
        cdef bint has_app = not self.by_app
        for i in range(head.count):
            f = &head.fields[i]
            if f.id != HeaderId.COOKIE:
                continue
            p = head.base + f.value
            end = p + f.value_size
            while p < end:
                while p < end and (p[0] == b' ' or p[0] == b';' or p[0] == b'\t'):
                    p += 1
                one = STICKY_NONE
                if self.by_app:
                    has_app = has_app or is_name(p, end, self.app.data, self.app.size)
                    if is_name(p, end, APP, 11):
                        one = self.read(p + 12, end - p - 12, now_s)
                elif is_name(p, end, LB, 6):
                    one = self.read(p + 7, end - p - 7, now_s)
                elif is_name(p, end, CORS, 10):
                    one = self.read(p + 11, end - p - 11, now_s)
                if one != STICKY_NONE and found < 0:
                    found = one
                while p < end and p[0] != b';':
                    p += 1
        return found if has_app else STICKY_NONE

    cdef int read(self, const char *p, uint64_t size, int64_t now_s) noexcept:
        """The target that a value names, or STICKY_LOST."""
        cdef unsigned char raw[RAW]
        cdef uint64_t pad[2]
        cdef uint64_t tag, target = 0
        cdef int64_t expires = 0
        cdef ServerSlot *slot
        cdef int i
        if size < DIGITS or (size > DIGITS and p[DIGITS] != b';' and p[DIGITS] != b' '):
            return STICKY_LOST
        if not decode(p, raw):
            return STICKY_LOST
        tag = siphash64(self.mac_key, <const char *>raw, TAGGED)
        if memcmp(&tag, raw + TAGGED, 8) != 0:
            return STICKY_LOST
        siphash128(self.seal_key, <const char *>raw, NONCE, pad)
        for i in range(PLAIN):
            raw[NONCE + i] ^= (<unsigned char *>pad)[i]
        for i in range(5):
            expires = expires << 8 | raw[NONCE + 1 + i]
        memcpy(&target, raw + NONCE + 6, 8)
        if raw[NONCE] != (KIND_APP if self.by_app else KIND_LB) or expires <= now_s:
            return STICKY_LOST
        for i in range(self.count):
            if self.members[i].id == target:
                slot = &self.arena.servers[self.members[i].slot]
                if (edge_load32(&slot.state) == <uint32_t>ServerState.UP
                        and edge_load32(&slot.admin) == <uint32_t>AdminState.READY):
                    return i
        return STICKY_LOST

    # -- answers -------------------------------------------------------------------------------

    cdef bint write(self, const Head *answer, int index, int found, int64_t now_s,
                    Edits edits) noexcept:
        """Mark an answer of the target `index`; `found`: what the request brought. Whether it got
        a cookie."""
        cdef char value[DIGITS + 1]
        if self.by_app and found != STICKY_LOST and not self.sets_app_cookie(answer):
            return False
        self.seal(index, now_s, value)
        if self.by_app:
            return self.add(APP, value, &self.tail, edits)
        return (self.add(LB, value, &self.tail, edits)
                and self.add(CORS, value, &self.cors_tail, edits))

    cdef bint add(self, const char *name, const char *value, const Text *tail,
                  Edits edits) noexcept:
        cdef char line[TEXT_MAX]
        cdef char *o = line
        cdef Text field
        cdef Text text
        field.data = b"Set-Cookie"
        field.size = 10
        while name[0]:
            o[0] = name[0]
            o += 1
            name += 1
        o[0] = b'='
        o = put(o + 1, value, DIGITS)
        o = put(o, tail.data, tail.size)
        text.data = line
        text.size = <uint32_t>(o - line)
        return edits.add(EDIT_ADD, &field, &text)

    cdef void seal(self, int index, int64_t now_s, char *out) noexcept:
        """The value of a cookie for a target."""
        cdef unsigned char raw[RAW]
        cdef uint64_t pad[2]
        cdef uint64_t nonce = self.draw(), tag
        cdef int64_t expires = now_s + self.duration_s
        cdef int i
        memcpy(raw, &nonce, NONCE)
        raw[NONCE] = KIND_APP if self.by_app else KIND_LB
        for i in range(5):
            raw[NONCE + 1 + i] = <unsigned char>(expires >> 8 * (4 - i) & 255)
        memcpy(raw + NONCE + 6, &self.members[index].id, 8)
        siphash128(self.seal_key, <const char *>raw, NONCE, pad)
        for i in range(PLAIN):
            raw[NONCE + i] ^= (<unsigned char *>pad)[i]
        tag = siphash64(self.mac_key, <const char *>raw, TAGGED)
        memcpy(raw + TAGGED, &tag, 8)
        encode(raw, out)

    cdef bint sets_app_cookie(self, const Head *answer) noexcept:
        cdef uint32_t i
        cdef const Field *f
        cdef const char *p
        for i in range(answer.count):
            f = &answer.fields[i]
            p = answer.base + f.value
            if f.id == HeaderId.SET_COOKIE and is_name(p, p + f.value_size, self.app.data,
                                                       self.app.size):
                return True
        return False


# -- facade for tests ------------------------------------------------------------------------------

def find_for_test(Stickiness sticky, bytes data, int64_t now_s):
    """What the request in `data` belongs to: an index, -1 or -2."""
    cdef HeadLimits limits = HeadLimits(HEAD_BYTES_MAX, HEAD_BYTES_MAX, FIELDS_MAX)
    cdef Head head
    if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
        raise ValueError("not one whole request head")
    return sticky.find(&head, now_s)


def write_for_test(Stickiness sticky, bytes data, int index, int64_t now_s, int found=-1):
    """The answer in `data` as it is marked."""
    cdef HeadLimits limits = HeadLimits(HEAD_BYTES_MAX, HEAD_BYTES_MAX, FIELDS_MAX)
    cdef Head head
    cdef Edits edits = Edits()
    if parse_response_head(data, <uint32_t>len(data), &limits, M_GET, &head) <= 0:
        raise ValueError("not one whole answer head")
    sticky.write(&head, index, found, now_s, edits)
    out = bytearray(edited_room(&head, edits))
    used = write_edited(&head, edits, out)
    return bytes(out[:used])
