"""The JSON schema of the configuration file, for editors and for the reference page.

It comes from the models, so it cannot fall behind them. It describes the YAML forms (`500ms` as
well as 0.5), under the YAML keys. What no schema can say (unique addresses, bounds of a number that
is written with a unit) is checked by `edge check` alone.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from edge.settings.conflicts import TIERS
from edge.settings.root import Settings


class _YamlSchema(GenerateJsonSchema):
    """Pydantic's generator, told what differs between the models and the file."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """A mapping may be left out but not be null: a bare `haproxy:` is refused when loading."""
        if schema["schema"]["type"] in ("model", "definition-ref"):
            return self.generate_inner(schema["schema"])
        return super().nullable_schema(schema)


def schema() -> dict[str, Any]:
    """A JSON schema (draft 2020-12) with a description, bounds and default for every key."""
    described = Settings.model_json_schema(schema_generator=_YamlSchema)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **described,
        "title": "edge configuration",
        "anyOf": [{"required": [tier]} for tier in TIERS],
    }
