"""edge.settings.json_schema: it says of a file what the loader says, as far as a schema can."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edge.settings import schema
from edge.settings.document import read_document

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
NODES = [{"name": "a", "web": "127.0.0.1:1"}]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_files_are_valid(validator: Draft202012Validator, path: Path) -> None:
    assert [error.message for error in validator.iter_errors(read_document(str(path)).values)] == []


@pytest.mark.parametrize(
    "haproxy",
    [
        {"timeouts": {"connect": "500ms"}},
        {"timeouts": {"connect": 0.5}},
        {"timeouts": {"queue": None}},
        {"limits": {"header": "16KiB", "body": 0}},
        {"health_check": {"expect": 200}},
        {"health_check": {"expect": "200, 302-304"}},
        {"listen": "[::1]:80"},
        {"listen": None},
    ],
)
def test_forms_that_load_are_valid(
    validator: Draft202012Validator, haproxy: dict[str, Any]
) -> None:
    assert validator.is_valid({"haproxy": haproxy, "nodes": NODES})


@pytest.mark.parametrize(
    "values",
    [
        {"haproxy": {}},
        {"nodes": NODES},
        {"haproxy": {}, "nodes": []},
        {"haproxy": None, "nodes": NODES},
        {"haproxy": {"timeouts": {"connect_s": 1}}, "nodes": NODES},
        {"haproxy": {"timeouts": {"connect": "1"}}, "nodes": NODES},
        {"haproxy": {"timeouts": {"connect": 0}}, "nodes": NODES},
        {"haproxy": {"timeouts": {"connect": None}}, "nodes": NODES},
        {"haproxy": {"limits": {"header": "16KB"}}, "nodes": NODES},
        {"haproxy": {"limits": {"header_count": 257}}, "nodes": NODES},
        {"haproxy": {"health_check": {"expect": "2xx"}}, "nodes": NODES},
        {"haproxy": {"listen": "127.0.0.1"}, "nodes": NODES},
        {"haproxy": {"balance": "best"}, "nodes": NODES},
        {"cdn": {"pop": "fra"}, "nodes": NODES},
        {"cdn": {"service": None}, "nodes": NODES},
        {"haproxy": {}, "nodes": [{"web": "127.0.0.1:1"}]},
    ],
)
def test_forms_that_do_not_load_are_invalid(
    validator: Draft202012Validator, values: dict[str, Any]
) -> None:
    assert not validator.is_valid(values)


def test_every_key_has_a_description() -> None:
    described = schema()
    models = {"": described, **described["$defs"]}
    bare = [
        f"{model}.{key}"
        for model, section in models.items()
        for key, field in section["properties"].items()
        if not field.get("description")
    ]
    assert bare == []


def test_keys_are_those_of_the_file() -> None:
    definitions = schema()["$defs"]
    assert "connect" in definitions["Timeouts"]["properties"]
    assert "connect_s" not in definitions["Timeouts"]["properties"]
    assert definitions["CdnTimeouts"]["properties"]["connect"]["default"] == 1.0
    assert definitions["Timeouts"]["properties"]["connect"]["default"] == 5.0
