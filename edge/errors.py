"""What goes wrong in `edge`, by whose mistake it is.

`EdgeError` is the root of what a user can cause and mend; its text is one that they can act on, so
the command line prints it without a traceback. `ConfigError` is the one of a configuration file and
carries every problem of the file at once, since mending one line per run is no way to work. `Bug`
is our own mistake: a state that cannot be. It is never caught and survived, and therefore not an
`EdgeError`.

Lowest layer: this module imports nothing of the project.
"""

from collections.abc import Iterable
from dataclasses import dataclass


class EdgeError(Exception):
    """The user's to mend; the text says what is wrong and what would be right."""


class Bug(Exception):  # noqa: N818 - not an error to handle, hence not named like one
    """A state that only a mistake in `edge` can bring about."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file.

    `line` counts from 1, None where there is no line (the file cannot be read). `key_path` is
    written as in `nodes[1].web` (rows count from 0); empty for the file as a whole.
    """

    file: str
    line: int | None
    key_path: str
    message: str

    def __str__(self) -> str:
        """`file:line: path.to.key: message`, without the parts that are not known."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key_path, self.message) if part)


class ConfigError(EdgeError):
    """A configuration that cannot be used. The text is one line per problem, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        if not self.problems:
            raise Bug("a configuration was refused without a reason")
        super().__init__("\n".join(map(str, self.problems)))
