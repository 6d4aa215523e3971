"""Desync mitigation of an Application Load Balancer, by http-desync-guardian's rules.

Theory. Request smuggling needs two parsers that read one request differently. Our parser refuses
whatever is malformed: a length that is no number, two lengths, a length and a coding, folded
lines, spaces where none belong. AWS passes some of these in the modes `monitor` and `defensive`;
here they are 400 in every mode, since what is forwarded is written anew and a guess about what was
meant would be ours. What is left to classify is valid, and yet known to be read differently:

    Acceptable   NonCompliantHeader               a byte above 127 in a field
                 GetHeadZeroContentLength         GET or HEAD with Content-Length: 0
    Ambiguous    UndefinedContentLengthSemantics  GET or HEAD with a body's length
                 UndefinedTransferEncodingSemantics   the same with a coding
                 SuspiciousHeader                 reads as one of the two: Transfer_Encoding

`classify` looks at the head once; a head of plain bytes and usual names costs one pass in words of
eight bytes. `desync_verdict` says what a mode does with it. REFUSED_REASONS names, for logs, what
AWS calls that which our parser refused.

Called by: targets (step elb). Pure byte functions that touch no Python.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from ext.headers cimport HeaderId
from ext.http1 cimport (
    BODY_CHUNKED, Field, HeadLimits, M_GET, M_HEAD, parse_request_head)
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX
from ext.limits import Refused

cdef enum:
    NAME_MIN = 13                  # letters of content-length
    NAME_MAX = 24                  # transfer-encoding with a few bytes between

cdef uint64_t HIGH_BITS = 0x8080808080808080ULL

REASON_NAMES = {
    DesyncReason.DESYNC_OK: "",
    DesyncReason.NON_COMPLIANT_HEADER: "NonCompliantHeader",
    DesyncReason.GET_HEAD_ZERO_CONTENT_LENGTH: "GetHeadZeroContentLength",
    DesyncReason.UNDEFINED_CONTENT_LENGTH: "UndefinedContentLengthSemantics",
    DesyncReason.UNDEFINED_TRANSFER_ENCODING: "UndefinedTransferEncodingSemantics",
    DesyncReason.SUSPICIOUS_HEADER: "SuspiciousHeader",
}
CLASS_NAMES = {0: "", 1: "Acceptable", 2: "Ambiguous", 3: "Severe"}
# What the parser refuses, in every mode: AWS's class and reason, for the log.
REFUSED_REASONS = {
    Refused.BAD_METHOD: (3, "BadMethod"),
    Refused.BAD_TARGET: (3, "BadUri"),
    Refused.BAD_VERSION: (3, "BadVersion"),
    Refused.BAD_LINE_END: (1, "NonCrLfLineTermination"),
    Refused.BAD_FIELD_NAME: (3, "BadHeader"),
    Refused.BAD_FIELD_VALUE: (3, "BadHeader"),
    Refused.OBS_FOLD: (2, "MultilineHeader"),
    Refused.BAD_CONTENT_LENGTH: (3, "BadContentLength"),
    Refused.REPEATED_CONTENT_LENGTH: (3, "MultipleContentLength"),
    Refused.LENGTH_AND_TRANSFER_ENCODING: (2, "BothTeClPresent"),
    Refused.BAD_TRANSFER_ENCODING: (3, "BadTransferEncoding"),
}


cdef bint has_high_byte(const char *p, uint32_t size) noexcept nogil:
    cdef uint64_t word
    cdef uint32_t at = 0
    while at + 8 <= size:
        memcpy(&word, p + at, 8)
        if word & HIGH_BITS:
            return True
        at += 8
    while at < size:
        if p[at] & 0x80:
            return True
        at += 1
    return False


cdef bint reads_as(const char *p, uint32_t size, const char *letters,
                   uint32_t count) noexcept nogil:
    """Do the letters of a name, whatever stands between them, spell `letters`?"""
    cdef uint32_t i, n = 0
    cdef unsigned char c
    for i in range(size):
        c = <unsigned char>p[i] | 0x20
        if c < b'a' or c > b'z':
            continue
        if n == count or c != <unsigned char>letters[n]:
            return False
        n += 1
    return n == count


cdef bint is_suspicious(const Head *head, const Field *f) noexcept nogil:
    cdef const char *name = head.base + f.name
    if f.id != HeaderId.OTHER or f.name_size < NAME_MIN or f.name_size > NAME_MAX:
        return False
    return (reads_as(name, f.name_size, b"transferencoding", 16)
            or reads_as(name, f.name_size, b"contentlength", 13))


cdef int classify(const Head *head) noexcept nogil:
    """The worst DesyncReason of a head that the parser has accepted."""
    cdef uint32_t i
    cdef bint bodiless = head.method == M_GET or head.method == M_HEAD
    for i in range(head.count):
        if is_suspicious(head, &head.fields[i]):
            return <int>DesyncReason.SUSPICIOUS_HEADER
    if bodiless and head.body == BODY_CHUNKED:
        return <int>DesyncReason.UNDEFINED_TRANSFER_ENCODING
    if bodiless and head.content_length > 0:
        return <int>DesyncReason.UNDEFINED_CONTENT_LENGTH
    if has_high_byte(head.base + head.start, head.size - head.start):
        return <int>DesyncReason.NON_COMPLIANT_HEADER
    if bodiless and head.content_length == 0:
        return <int>DesyncReason.GET_HEAD_ZERO_CONTENT_LENGTH
    return <int>DesyncReason.DESYNC_OK


cdef int class_of_reason(int reason) noexcept nogil:
    if reason == DesyncReason.DESYNC_OK:
        return <int>DesyncClass.COMPLIANT
    if (reason == DesyncReason.NON_COMPLIANT_HEADER
            or reason == DesyncReason.GET_HEAD_ZERO_CONTENT_LENGTH):
        return <int>DesyncClass.ACCEPTABLE
    return <int>DesyncClass.AMBIGUOUS


cdef int desync_verdict(int mode, int reason) noexcept nogil:
    """What a mode does with a request of this reason."""
    cdef int found = class_of_reason(reason)
    if found == DesyncClass.COMPLIANT or mode <= DesyncMode.DESYNC_MONITOR:
        return <int>DesyncVerdict.DESYNC_PASS
    if mode == DesyncMode.DESYNC_STRICTEST:
        return <int>DesyncVerdict.DESYNC_REFUSE
    if found == DesyncClass.AMBIGUOUS:
        return <int>DesyncVerdict.DESYNC_CLOSE
    return <int>DesyncVerdict.DESYNC_PASS


def desync_for_test(bytes data, int mode):
    """(class, AWS's reason, verdict) of the request in `data`, which the parser accepts."""
    cdef HeadLimits limits = HeadLimits(HEAD_BYTES_MAX, HEAD_BYTES_MAX, FIELDS_MAX)
    cdef Head head
    if parse_request_head(data, <uint32_t>len(data), &limits, &head) <= 0:
        raise ValueError("not one whole request head")
    reason = classify(&head)
    return (CLASS_NAMES[class_of_reason(reason)], REASON_NAMES[DesyncReason(reason)],
            DesyncVerdict(desync_verdict(mode, reason)))
