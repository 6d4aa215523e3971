"""HAProxy's rule language: lines of a configuration file in, a compact program out.

    words.py       a line as words: quotes, escapes, comments
    samples.py     `req.hdr(host),lower`: fetches and converters
    conditions.py  `acl` lines, `{ ... }`, `if A B or !C`
    formats.py     log-format strings: `%[src]/%[path]`
    actions.py     `deny`, `redirect`, `set-header`, ...
    program.py     a section's lines together: names are resolved, numbers given

The language is that of HAProxy 2.6 (configuration manual, sections 2.2, 4.2, 7), so that an
operator's lines carry over; what edge has not is refused with a reason, never ignored. Pure: the
only files that are read are those of `-f`. Every mistake is a `RuleError` that says what would be
right. `ext/rules.pyx` carries out what is compiled here.
"""

from edge.rules.program import Lines, Program, compile_section
from edge.rules.samples import Names
from edge.rules.words import RuleError

__all__ = ["Lines", "Names", "Program", "RuleError", "compile_section"]
