"""edge.registry: what was changed at run time, kept as text and laid over the file."""

from edge.registry import AddedNode, Registry
from edge.settings import Settings
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.node import Node

NOW = 1_000.0
FILE = Settings(
    elb=Elb(listen="127.0.0.1:1"),
    haproxy=Haproxy(),
    nodes=[Node(name="n1", web="127.0.0.1:11"), Node(name="n2", web="127.0.0.1:12")],
)
NEW = AddedNode(name="n3", web="127.0.0.1:13", zone="b", weight=2)


def names(registry: Registry, now: float = NOW) -> list[str]:
    return [node.name for node in registry.apply(FILE, now).nodes]


def test_it_is_the_same_after_writing_and_reading() -> None:
    registry = Registry().with_node(NEW).deregistering("n1", 5.5).without_node("n2")
    assert Registry.read(registry.write()) == registry
    assert Registry.read(b"") == Registry()


def test_nodes_come_and_go() -> None:
    with_new = Registry().with_node(NEW)
    assert names(with_new) == ["n1", "n2", "n3"]
    assert with_new.apply(FILE, NOW).nodes[2].zone == "b"
    assert names(with_new.without_node("n3")) == ["n1", "n2"]
    assert names(with_new.without_node("n1")) == ["n2", "n3"]
    assert names(with_new.without_node("n1").with_node(AddedNode("n1", "127.0.0.1:14"))) == [
        "n1", "n2", "n3",
    ]  # fmt: skip
    assert names(Registry().without_node("n1").restored("n1")) == ["n1", "n2"]


def test_the_file_has_the_word_on_a_name_of_its_own() -> None:
    other = AddedNode(name="n1", web="127.0.0.1:99")
    assert Registry().with_node(other).apply(FILE, NOW).nodes[0].web == "127.0.0.1:11"


def test_the_last_node_stays() -> None:
    assert names(Registry().without_node("n1").without_node("n2")) == ["n1", "n2"]


def test_an_added_node_goes_when_its_target_has_drained() -> None:
    registry = Registry().with_node(NEW).deregistering("n3", NOW + 10)
    assert names(registry) == ["n1", "n2", "n3"]
    assert names(registry, NOW + 10) == ["n1", "n2"]
    assert names(registry.registered("n3"), NOW + 10) == ["n1", "n2", "n3"]
    assert names(Registry().deregistering("n1", NOW)) == ["n1", "n2"], (
        "the file's stays in the plan"
    )


def test_attributes_are_laid_over_those_of_the_file() -> None:
    registry = Registry(
        elb={"balance": "weighted_random", "timeouts.server_s": 5.0},
        target_group={"deregistration_delay_timeout_seconds": 7},
    )
    elb = registry.apply(FILE, NOW).elb
    assert elb is not None
    assert elb.balance == "weighted_random"
    assert (elb.timeouts.server_s, elb.timeouts.connect_s) == (5.0, 10.0)
    assert elb.target_group.deregistration_delay_timeout_seconds == 7
    assert elb.listen == "127.0.0.1:1"
