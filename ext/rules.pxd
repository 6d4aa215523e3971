# Compiled rules of a frontend or a backend, and the verdicts that they come to.
from libc.stdint cimport int64_t, uint32_t
from cpython.object cimport PyObject
from ext.client cimport Client
from ext.fields cimport Text
from ext.http1 cimport Head
from ext.patterns cimport Sample
from ext.samples cimport Expressions, Look, Scene

cdef enum Verdict:
    V_GO                           # nothing stands against it
    V_STOP                         # `allow`: no further rule of this list
    V_DENY                         # answer rules.status with the tier's page, or rules.answer
    V_TARPIT                       # the same, later
    V_REJECT                       # close
    V_DROP                         # say nothing at all

cdef struct Test:
    int expr
    bint reads_head
    PyObject *patterns             # Patterns, held by Rules

cdef struct Term:
    int first, count               # tests; one that matches is enough
    bint negated
    bint ends                      # the last one of its suite

cdef struct Rule:
    int action                     # Action
    int first_term, terms
    bint unless
    Text name
    int first_piece, pieces
    int expr                       # -1: none
    PyObject *patterns             # of names, or the regex of a replacement
    int64_t a, b
    PyObject *answer               # of `return`

cdef struct Piece:
    Text text
    int expr                       # -1: the text

cdef struct RuleList:
    Rule *rules
    int count

cdef class Rules:
    cdef Scene scene
    cdef Expressions expressions
    cdef list held
    cdef Test *tests
    cdef Term *terms
    cdef Piece *pieces
    cdef RuleList request, routes, response, monitor
    cdef Text monitor_uri
    cdef int status                # what V_DENY answers
    cdef bytes answer              # all of it; None: the tier's page

    cdef Text text(self, bytes given)
    cdef RuleList list_of(self, list rows)
    cdef int run_request(self, Client s) except -1
    cdef int run_response(self, Client s) except -1
    cdef int pick_backend(self, Client s) except? -2
    cdef bint is_monitor(self, const Head *head) noexcept
    cdef bint monitor_fails(self, Client s) except -1

    cdef int run_list(self, Client s, Look *look, const RuleList *rules) except -1
    cdef bint holds(self, Client s, Look *look, const Rule *rule) except -1
    cdef bint passes(self, Client s, Look *look, const Test *test) except -1
    cdef int carry_out(self, Client s, Look *look, const Rule *rule) except -1
    cdef int edit(self, Client s, Look *look, const Rule *rule) except -1
    cdef int edit_line(self, Client s, Look *look, const Rule *rule, Text *value) except -1
    cdef int replace(self, Client s, Look *look, const Rule *rule) except -1
    cdef int replace_target(self, Client s, Look *look, const Rule *rule) except -1
    cdef int keep(self, Client s, Look *look, const Rule *rule) except -1
    cdef int track(self, Client s, Look *look, const Rule *rule) except -1
    cdef bint compose(self, Client s, Look *look, int first, int count, Text *out) except -1
    cdef int make_redirect(self, Client s, Look *look, const Rule *rule) except -1
    cdef int make_answer(self, Client s, Look *look, const Rule *rule) except -1
