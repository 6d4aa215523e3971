"""edge.settings.section: keys without units, nothing bent, nothing ignored, nothing changed."""

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from edge.settings.scalars import Duration
from edge.settings.section import Section, yaml_key


class Example(Section):
    """A section with one key of each kind."""

    wait_s: Annotated[float, Duration(0, 10)] = 1.0
    is_on: bool = False
    names: list[str] = Field(default_factory=list)


def test_a_key_is_the_attribute_without_its_unit() -> None:
    keys = ["connect_s", "body_bytes", "header_count", "max_connections", "expect"]
    yaml_keys = ["connect", "body", "header_count", "max_connections", "expect"]
    assert list(map(yaml_key, keys)) == yaml_keys
    assert list(Example.keys()) == ["wait", "is_on", "names"]


def test_both_spellings_construct_it() -> None:
    assert Example(wait_s=2.0) == Example.model_validate({"wait": 2.0})


@pytest.mark.parametrize(
    "values", [{"is_on": "yes"}, {"is_on": 1}, {"names": "a"}, {"names": [1]}, {"nmaes": []}]
)
def test_values_are_not_bent_and_keys_not_ignored(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate(values)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Example().is_on = True


def test_defaults_are_checked_too() -> None:
    class Wrong(Section):
        wait_s: Annotated[float, Duration(0, 10)] = 11.0

    with pytest.raises(ValidationError):
        Wrong()
