"""A slow reading of conditions, to compare the compiler with: over sets of true names."""

from __future__ import annotations

from collections.abc import Set as AbstractSet


def holds(text: str, true: AbstractSet[str]) -> bool:
    """`A B or !C` by the manual's words: blanks are and, which binds closer than or."""
    suites: list[list[bool]] = [[]]
    negated = False
    for word in text.replace("||", " or ").replace("!", " ! ").split():
        if word == "!":
            negated = not negated
        elif word == "or":
            suites.append([])
        else:
            suites[-1].append((word in true) != negated)
            negated = False
    return any(all(suite) for suite in suites)
