"""A line as words, as HAProxy reads it (configuration manual, section 2.2).

Blanks separate words; a backslash takes the special meaning from what follows; `"..."` keeps blanks
together, `'...'` everything; `#` begins a comment. Environment variables are not expanded.

Arguments in parentheses have quotes of their own, inside of the word.
"""

from __future__ import annotations

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_HEX_DIGITS = 2


class RuleError(ValueError):
    """A mistake in a rule; the text says what is wrong and what would be right."""


def split_words(line: str) -> list[str]:
    """The words of a line, without its comment."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    at = 0
    while at < len(line):
        char = line[at]
        at += 1
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and line[at : at + 1] in ('"', "\\", "#", "$", "'"):
                word = [*(word or []), line[at]]
                at += 1
            else:
                word = [*(word or []), char]
        elif char in "\"'":
            quote = char
            word = word or []
        elif char == "\\":
            text, at = _escaped(line, at)
            word = [*(word or []), text]
        elif char == "#":
            break
        elif char in " \t":
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = [*(word or []), char]
    if quote:
        raise RuleError(f"has a quote {quote} that is not closed")
    if word is not None:
        words.append("".join(word))
    return words


def _escaped(line: str, at: int) -> tuple[str, int]:
    """What stands for the characters behind a backslash, and where it goes on."""
    char = line[at : at + 1]
    if not char:
        raise RuleError("ends in a backslash")
    if char == "x":
        digits = line[at + 1 : at + 1 + _HEX_DIGITS]
        try:
            return chr(int(digits, 16)), at + 1 + _HEX_DIGITS
        except ValueError:
            raise RuleError(f"has \\x{digits}: it takes two hexadecimal digits") from None
    # What a regular expression needs to see itself keeps its backslash.
    return _ESCAPES.get(char, char if char in " \\#\"'" else "\\" + char), at + 1


def split_arguments(text: str) -> list[str]:
    """The arguments between a pair of parentheses, separated by commas."""
    if not text:
        return []
    arguments = [""]
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if quote:
            if char == quote:
                quote = ""
            else:
                arguments[-1] += char
        elif char in "\"'":
            quote = char
        elif char == "\\" and text[at : at + 1] in (",", ")", '"', "'", " "):
            arguments[-1] += text[at]
            at += 1
        elif char == ",":
            arguments.append("")
        else:
            arguments[-1] += char
    if quote:
        raise RuleError(f"has a quote {quote} that is not closed in ({text})")
    return arguments


def closing(text: str, at: int, bracket: str) -> int:
    """Where the bracket that was opened before `at` closes, outside of quotes."""
    quote = ""
    while at < len(text):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "\\":
            at += 1
        elif char == bracket:
            return at
        at += 1
    raise RuleError(f"has no {bracket} that closes {text!r}")
