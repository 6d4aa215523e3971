"""Lines for the operator, on stderr.

Events start with `edge: `; problems of the configuration file with `file:line: `, so that editors
and people find the place. Every process of the project writes through here and nowhere else.
"""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Writes one line about an event."""
    _write(f"edge: {line}\n")


def say_problem(line: str) -> None:
    """Writes one line about the configuration file as it is, for editors that jump to its place."""
    _write(f"{line}\n")


def _write(text: str) -> None:
    """In one piece, so that lines of several processes do not mix."""
    sys.stderr.write(text)
    sys.stderr.flush()
