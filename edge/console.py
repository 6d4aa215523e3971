"""Lines for the operator: one per event, on stderr, each starting with `edge: `."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Writes one line. It goes out in one piece, so lines of several processes do not mix."""
    sys.stderr.write(f"edge: {line}\n")
    sys.stderr.flush()
