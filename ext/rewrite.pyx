"""Edits applied to the heads that a session holds.

Theory. The request stands in `block` as the server will get it: it is parsed into `site.sent`,
written anew into another block, and the first block is given back. What is kept of its body behind
the head moves along, so this works between two attempts as well. The answer is `site.answer`: it is
written into scratch of the site and parsed again from there; its body stays where it was read.

What is written is parsed again at once. If it is not accepted (more fields or bytes than a head may
have), nothing has changed and the caller hears False.

Called by: rules, persistence. One at a time: `site.sent` and `site.answer` are the worker's.
"""
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from ext.edits cimport edited_room, write_edited
from ext.http1 cimport Head, HeadLimits, parse_request_head, parse_response_head
from ext.limits cimport FIELDS_MAX, HEAD_BYTES_MAX
from ext.site cimport Block, Scratch, Site, at_least

cdef HeadLimits widest
widest.request_line_bytes = HEAD_BYTES_MAX
widest.header_bytes = HEAD_BYTES_MAX
widest.header_count = FIELDS_MAX


cdef bint read_request(Client s) noexcept:
    """The request in the block, parsed into site.sent. False: what we wrote is no head."""
    return parse_request_head(s.block.data, s.block.size, &widest, &s.site.sent) > 0


cdef bint rewrite_request(Client s, Edits edits) except -1:
    """Apply the edits to the request; site.sent is what it is now. `edits` are for site.sent, which
    read_request has made, and are used up."""
    cdef Site site = s.site
    cdef Head *h = &site.sent
    cdef uint32_t body_size = s.block.size - h.size
    cdef Block *old = s.block
    cdef Block *block = site.take_block(edited_room(h, edits) + body_size)
    cdef uint32_t size = write_edited(h, edits, block.data)
    edits.clear()
    if parse_request_head(block.data, size, &widest, h) <= 0:
        site.give_block(block)
        read_request(s)
        return False
    if body_size:
        memcpy(block.data + size, old.data + old.size - body_size, body_size)
    block.size = size + body_size
    s.block = block
    site.give_block(old)
    return True


cdef bint rewrite_answer(Client s, Edits edits) except -1:
    """Apply the edits to site.answer, for which they are, and which is parsed again."""
    cdef Site site = s.site
    cdef Head *h = &site.answer
    cdef Scratch used = site.edited
    cdef const char *old = h.base
    cdef uint32_t old_size = h.size
    # `answer` may have been edited before, and then stands in `edited`.
    cdef char *out = at_least(&site.spare, edited_room(h, edits))
    cdef uint32_t size = write_edited(h, edits, out)
    edits.clear()
    site.edited = site.spare
    site.spare = used
    if parse_response_head(out, size, &widest, s.sent_method, h) <= 0:
        parse_response_head(old, old_size, &widest, s.sent_method, h)
        return False
    return True
