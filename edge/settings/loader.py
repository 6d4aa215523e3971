"""From a file to `Settings`, or to the list of everything that is wrong with it.

Three sources of problems, all asked before any is reported: the YAML itself (`document.py`), each
key (the models, through pydantic), and what must hold between keys (`conflicts.py`). Pydantic's own
words are for programmers; `_MESSAGES` says the same to who wrote the file.
"""

import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edge.errors import ConfigError, Problem
from edge.settings.conflicts import find_conflicts
from edge.settings.document import Document, KeyPath, nearest, read_document
from edge.settings.root import Settings
from edge.settings.scalars import shown
from edge.settings.section import Section


def load(path: str) -> Settings:
    """The settings of a YAML file.

    Raises ConfigError with every problem of the file, in the order of its lines.
    """
    document = read_document(path)
    problems = list(document.problems)
    settings = None
    try:
        settings = Settings.model_validate(document.values, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += _field_problems(document, error)
    problems += [document.problem(*conflict) for conflict in find_conflicts(document.values)]
    if settings is None or problems:
        raise ConfigError(sorted(problems, key=lambda found: (found.line or 0, found.key_path)))
    return settings


def _field_problems(document: Document, error: ValidationError) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        kind = details["type"]
        # Only follows from another error: that of the key which the default is computed from.
        if kind != "default_factory_not_called":
            message = _MESSAGES.get(kind, _in_pydantics_words)(details)
            at_key = kind == "extra_forbidden"
            yield document.problem(details["loc"], message, at_key=at_key)


def section_at(path: KeyPath) -> type[Section] | None:
    """The model of the mapping under a path of YAML keys; None where there is no mapping."""
    section: type[Section] | None = Settings
    is_name = False  # of a row in a mapping of them, such as a stick table's
    for step in path:
        if is_name:
            is_name = False
        elif isinstance(step, str):
            field = section.keys().get(step) if section else None
            section = _section_in(field.annotation) if field else None
            is_name = field is not None and get_origin(field.annotation) is dict
    return section


def _section_in(annotation: Any) -> type[Section] | None:
    """The model inside `Model`, `Model | None`, `list[Model]` or `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (list, dict, Union, types.UnionType):
        found = (_section_in(inner) for inner in get_args(annotation))
        return next((section for section in found if section), None)
    return None


def _unknown_key(details: ErrorDetails) -> str:
    *above, key = details["loc"]
    section = section_at(tuple(above))
    known = list(section.keys()) if section else []
    close = nearest(str(key), known)
    return f"unknown key; did you mean `{close}`?" if close else f"unknown key; {_known(known)}"


def _known(keys: list[str]) -> str:
    return "known here: " + ", ".join(keys)


def _missing(details: ErrorDetails) -> str:
    *above, key = details["loc"]
    section = section_at(tuple(above))
    field = section.keys().get(str(key)) if section else None
    return f"is missing: {field.description}" if field else "is missing"


def _no_mapping(details: ErrorDetails) -> str:
    section = section_at(details["loc"])
    known = _known(list(section.keys())) if section else "known here: none"
    return f"must be a mapping of keys ({known}), not {shown(details['input'])}"


def _unknown_choice(details: ErrorDetails) -> str:
    choices = re.findall(r"'([^']*)'", details["ctx"]["expected"])
    got = details["input"]
    close = nearest(got, choices) if isinstance(got, str) else None
    hint = f"; did you mean {close}?" if close else ""
    return f"must be one of {', '.join(choices)}, not {shown(got)}{hint}"


def _no_value(details: ErrorDetails) -> str:
    """For a type that its form has already checked: what is left to be wrong is null."""
    if details["input"] is None:
        return "has no value: give one, or leave the key out for its default"
    return _in_pydantics_words(details)


def _in_pydantics_words(details: ErrorDetails) -> str:
    return f"{details['msg']}, not {shown(details['input'])}"


_MESSAGES: Mapping[str, Callable[[ErrorDetails], str]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "model_type": _no_mapping,
    "literal_error": _unknown_choice,
    "value_error": lambda details: str(details["ctx"]["error"]),
    "bool_type": lambda details: f"must be true or false, not {shown(details['input'])}",
    "list_type": lambda details: f"must be a list of `- ` rows, not {shown(details['input'])}",
    "too_short": lambda _details: "must have at least one row",
    "string_type": _no_value,
    "int_type": _no_value,
    "float_type": _no_value,
}
