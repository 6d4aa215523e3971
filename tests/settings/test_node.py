"""edge.settings.node: names that the program can build on, bounds, roles."""

import pytest
from pydantic import ValidationError

from edge.errors import Bug
from edge.settings import Node, Settings


@pytest.mark.parametrize("name", ["", "a/b", "a@b", "-a", "a b", "a" * 64, 1])
def test_a_name_keeps_off_the_marks_of_tiers_and_servers(name: object) -> None:
    with pytest.raises(ValidationError):
        Node.model_validate({"name": name})
    with pytest.raises(ValidationError):
        Node.model_validate({"name": "a", "zone": name})


@pytest.mark.parametrize(
    "values", [{"weight": 257}, {"weight": -1}, {"maxconn": -1}, {"role": "db"}, {"backup": 1}]
)
def test_bounds(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Node.model_validate({"name": "a", **values})


def test_core_nodes_get_no_web_traffic() -> None:
    rows = [
        Node(name="core", role="core"),
        Node(name="web", role="web", web="127.0.0.1:1"),
        Node(name="both", web="127.0.0.1:2"),
    ]
    settings = Settings(nodes=rows)
    assert [node.name for node in settings.web_nodes] == ["web", "both"]
    assert [node.web_address for node in settings.web_nodes] == ["127.0.0.1:1", "127.0.0.1:2"]
    with pytest.raises(Bug):
        _ = rows[0].web_address
