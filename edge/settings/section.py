"""What every mapping of the configuration file has in common.

One naming rule: the YAML key is the attribute without its unit, because YAML writes the unit with
the value (`connect: 500ms`) and the program needs it in the name (`connect_s`). The JSON that
travels between processes and the constructors use the attribute names.

Invariants: settings never change after loading (a reload makes new ones), no key is ignored, and no
value is bent into another type ("yes" is not true, "8" is not a number).
"""

from pydantic import AliasGenerator, BaseModel, ConfigDict
from pydantic.fields import FieldInfo

_UNITS = ("_s", "_bytes")


def yaml_key(attribute: str) -> str:
    """The YAML key of an attribute: `connect_s` -> `connect`, `body_bytes` -> `body`."""
    for unit in _UNITS:
        if attribute.endswith(unit):
            return attribute.removesuffix(unit)
    return attribute


class Section(BaseModel):
    """A mapping of the file. Subclasses only declare fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=AliasGenerator(validation_alias=yaml_key),
    )

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """The fields by their YAML keys, in the order of declaration."""
        return {yaml_key(name): field for name, field in cls.model_fields.items()}
