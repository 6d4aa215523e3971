"""Words of a line, as HAProxy reads them (configuration manual, section 2.2)."""

from __future__ import annotations

import pytest

from edge.rules.words import RuleError, closing, split_arguments, split_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  a\tb  ", ["a", "b"]),
        ('a "b c" d', ["a", "b c", "d"]),
        ("a 'b \\n c'", ["a", "b \\n c"]),
        ("a\\ b", ["a b"]),
        ('"a \\" b"', ['a " b']),
        ('""', [""]),
        ('a""b', ["ab"]),
        ("a # b", ["a"]),
        ("a#b", ["a"]),
        ("a\\#b '#' \"#\"", ["a#b", "#", "#"]),
        ("\\x41\\t", ["A\t"]),
        ("^a\\.b\\1$", ["^a\\.b\\1$"]),
        ("{ path /x }", ["{", "path", "/x", "}"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize("line", ['a "b', "a 'b", "a\\", "\\xzz"])
def test_mistakes(line: str) -> None:
    with pytest.raises(RuleError):
        split_words(line)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a,", ["a", ""]),
        ("'a,b',c", ["a,b", "c"]),
        ('"(a|b)",c', ["(a|b)", "c"]),
        ("a\\,b", ["a,b"]),
    ],
)
def test_arguments(text: str, arguments: list[str]) -> None:
    assert split_arguments(text) == arguments


def test_closing_bracket() -> None:
    assert closing("a(b)", 2, ")") == 3
    assert closing("(')')", 1, ")") == 4
    with pytest.raises(RuleError):
        closing("(a", 1, ")")
