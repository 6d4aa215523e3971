# Heads of a session, edited where they are held.
from ext.client cimport Client
from ext.edits cimport Edits

cdef bint read_request(Client s) noexcept
cdef bint rewrite_request(Client s, Edits edits) except -1
cdef bint rewrite_answer(Client s, Edits edits) except -1
