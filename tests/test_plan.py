"""edge.plan: what each shipped file becomes, fused and split, and every way a plan is refused."""

from pathlib import Path

import pytest

from edge.errors import EdgeError
from edge.plan import CheckPlan, ListenerPlan, Plan, ServerPlan, build_plan, tier_names
from edge.settings import Cdn, Elb, Haproxy, Node, Settings, load

CONFIGS = Path(__file__).parents[1] / "configs"
SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
NODES = ("node1", "node2", "node3")


def shipped(name: str) -> Settings:
    return load(str(CONFIGS / f"{name}.yaml"))


def tiers(plan: Plan) -> dict[str, list[str]]:
    """The keys of every tier's servers."""
    return {tier.name: [server.key for server in tier.servers] for tier in plan.tiers}


def settings(count: int = 2, **tiers: object) -> Settings:
    nodes = [
        Node(name=f"n{number}", web=f"127.0.0.1:{9000 + number}") for number in range(1, count + 1)
    ]
    return Settings(nodes=nodes, **tiers)  # type: ignore[arg-type]


# -- the shipped files --------------------------------------------------------------------------


def test_pro_fused_is_the_whole_chain() -> None:
    plan = build_plan(shipped("pro"), None)
    assert tiers(plan) == {
        "cdn": [],
        "elb": [f"elb/haproxy@{node}" for node in NODES],
        **{f"haproxy@{node}": [f"haproxy@{node}/{server}" for server in NODES] for node in NODES},
    }
    assert [tier.kind for tier in plan.tiers] == ["cdn", "elb", "haproxy", "haproxy", "haproxy"]
    cdn, elb, *haproxies = plan.tiers
    assert cdn.next_tier == "elb"
    assert [(server.address, server.next_tier) for server in elb.servers] == [
        (None, f"haproxy@{node}") for node in NODES
    ]
    for haproxy in haproxies:
        assert haproxy.next_tier is None
        assert [(server.address, server.next_tier) for server in haproxy.servers] == [
            (f"127.0.0.1:900{number}", None) for number in (1, 2, 3)
        ]


def test_pro_fused_listens_wherever_a_tier_has_an_address() -> None:
    plan = build_plan(shipped("pro"), None)
    assert plan.listeners == (
        ListenerPlan("cdn", "127.0.0.1", 8080),
        ListenerPlan("elb", "127.0.0.1", 8081),
        ListenerPlan("haproxy@node1", "127.0.0.1", 8101),
        ListenerPlan("haproxy@node2", "127.0.0.1", 8102),
        ListenerPlan("haproxy@node3", "127.0.0.1", 8103),
    )
    assert [tier.port for tier in plan.tiers] == [8080, 8081, 8101, 8102, 8103]


def test_pro_has_nine_checks_of_nodes_and_three_of_tiers() -> None:
    """Three independent opinions on three nodes, and the balancer's on the machines."""
    file = shipped("pro")
    assert file.elb is not None
    assert file.haproxy is not None
    checks = build_plan(file, None).checks
    assert len(checks) == len({check.key for check in checks}) == 12
    assert checks[:3] == tuple(
        CheckPlan(
            f"elb/haproxy@{n}", "tier", None, f"haproxy@{n}", file.elb.health_check, starts_up=False
        )
        for n in NODES
    )
    assert checks[3:] == tuple(
        CheckPlan(f"haproxy@{a}/{b}", "http", f"127.0.0.1:900{i}", None, file.haproxy.health_check)
        for a in NODES
        for i, b in enumerate(NODES, 1)
    )


@pytest.mark.parametrize(
    ("name", "addresses", "listener"),
    [
        ("cdn", {"cdn/elb": "127.0.0.1:8081"}, ("127.0.0.1", 8080)),
        (
            "elb",
            {f"elb/haproxy@node{n}": f"127.0.0.1:810{n}" for n in (1, 2, 3)},
            ("127.0.0.1", 8081),
        ),
        (
            "haproxy@node2",
            {f"haproxy@node2/node{n}": f"127.0.0.1:900{n}" for n in (1, 2, 3)},
            ("127.0.0.1", 8102),
        ),
    ],
)
def test_pro_split_is_one_tier_with_addresses(
    name: str, addresses: dict[str, str], listener: tuple[str, int]
) -> None:
    plan = build_plan(shipped("pro"), name)
    (tier,) = plan.tiers
    assert (tier.name, tier.next_tier) == (name, None)
    assert {server.key: server.address for server in tier.servers} == addresses
    assert all(server.next_tier is None for server in tier.servers)
    assert plan.listeners == (ListenerPlan(name, *listener),)
    assert [(check.key, check.address) for check in plan.checks] == list(addresses.items())
    assert all(check.kind in ("tcp", "http") and not check.next_tier for check in plan.checks)


def test_staging_is_as_pro_with_a_limit_per_server() -> None:
    plan = build_plan(shipped("staging"), None)
    assert tiers(plan) == tiers(build_plan(shipped("pro"), None))
    assert len(plan.checks) == 12
    limits = {server.key: server.maxconn for tier in plan.tiers for server in tier.servers}
    assert {key for key, most in limits.items() if most == 50} == {
        f"haproxy@{a}/{b}" for a in NODES for b in NODES
    }


def test_scaled_leaves_the_core_nodes_out() -> None:
    plan = build_plan(shipped("scaled"), None)
    webs = [f"web{number}" for number in range(1, 7)]
    assert tiers(plan) == {
        "cdn": [],
        "elb": [f"elb/haproxy@{web}" for web in webs],
        **{f"haproxy@{web}": [f"haproxy@{web}/{server}" for server in webs] for web in webs},
    }
    assert len(plan.checks) == 6 * 6 + 6
    assert [listener.port for listener in plan.listeners] == [8480, 8481, *range(8141, 8147)]


def test_integration_is_one_haproxy_with_one_node() -> None:
    plan = build_plan(shipped("integration"), None)
    assert tiers(plan) == {"haproxy": ["haproxy/node1"]}
    assert plan.listeners == (ListenerPlan("haproxy", "127.0.0.1", 8380),)
    assert [(check.key, check.kind) for check in plan.checks] == [("haproxy/node1", "http")]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_tier_of_every_shipped_file_runs_alone(name: str) -> None:
    """Split, a tier keeps its name, kind, port and the names of its servers."""
    file = shipped(name)
    fused = {tier.name: tier for tier in build_plan(file, None).tiers}
    assert list(fused) == tier_names(file)
    for tier_name in tier_names(file):
        (split,) = build_plan(file, tier_name).tiers
        planned = fused[tier_name]
        assert (split.name, split.kind, split.port) == (tier_name, planned.kind, planned.port)
        assert split.settings == planned.settings
        if planned.servers:
            assert [server.key for server in split.servers] == [
                server.key for server in planned.servers
            ]
        assert all(server.address for server in split.servers)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_server_has_one_unique_key_of_its_tier(name: str) -> None:
    plan = build_plan(shipped(name), None)
    keys = [server.key for tier in plan.tiers for server in tier.servers]
    assert len(keys) == len(set(keys)) == len(plan.checks)
    for tier in plan.tiers:
        assert [server.key for server in tier.servers] == [
            f"{tier.name}/{server.name}" for server in tier.servers
        ]


# -- shapes of chains ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "names", "behind_cdn", "keys"),
    [
        ({"haproxy": Haproxy()}, ["haproxy"], None, {"haproxy": ["haproxy/n1", "haproxy/n2"]}),
        ({"elb": Elb()}, ["elb"], None, {"elb": ["elb/n1", "elb/n2"]}),
        ({"cdn": Cdn()}, ["cdn"], None, {"cdn": ["cdn/n1", "cdn/n2"]}),
        (
            {"cdn": Cdn(), "haproxy": Haproxy()},
            ["cdn", "haproxy"],
            "haproxy",
            {"cdn": [], "haproxy": ["haproxy/n1", "haproxy/n2"]},
        ),
        (
            {"cdn": Cdn(), "elb": Elb()},
            ["cdn", "elb"],
            "elb",
            {"cdn": [], "elb": ["elb/n1", "elb/n2"]},
        ),
        (
            {"elb": Elb(), "haproxy": Haproxy()},
            ["elb", "haproxy@n1", "haproxy@n2"],
            None,
            {
                "elb": ["elb/haproxy@n1", "elb/haproxy@n2"],
                "haproxy@n1": ["haproxy@n1/n1", "haproxy@n1/n2"],
                "haproxy@n2": ["haproxy@n2/n1", "haproxy@n2/n2"],
            },
        ),
    ],
    ids=["haproxy", "elb", "cdn", "cdn+haproxy", "cdn+elb", "elb+haproxy"],
)
def test_tier_left_out_of_the_file_is_left_out_of_the_chain(
    given: dict[str, Cdn | Elb | Haproxy],
    names: list[str],
    behind_cdn: str | None,
    keys: dict[str, list[str]],
) -> None:
    first = next(iter(given))
    given = given | {first: given[first].model_copy(update={"listen": "127.0.0.1:80"})}
    file = settings(**given)
    plan = build_plan(file, None)
    assert tier_names(file) == names
    assert tiers(plan) == keys
    assert plan.tiers[0].next_tier == behind_cdn
    assert plan.listeners == (ListenerPlan(first, "127.0.0.1", 80),)
    assert {tier.port for tier in plan.tiers} == {80}


def test_server_has_the_nodes_settings() -> None:
    nodes = [
        Node(name="a", web="127.0.0.1:1", weight=7, maxconn=3),
        Node(name="b", web="127.0.0.1:2", backup=True),
    ]
    haproxy = Haproxy(listen="127.0.0.1:80", server_maxconn=20)
    (tier,) = build_plan(Settings(nodes=nodes, haproxy=haproxy), None).tiers
    assert tier.servers == (
        ServerPlan(
            "a", "haproxy/a", "127.0.0.1:1", None, weight=7, maxconn=3, node="a", cookie="a"
        ),
        ServerPlan(
            "b", "haproxy/b", "127.0.0.1:2", None, backup=True, maxconn=20, node="b", cookie="b"
        ),
    )


@pytest.mark.parametrize("tier", [None, "cdn", "elb", "haproxy@node2"])
def test_which_servers_are_a_node_and_which_a_whole_tier(tier: str | None) -> None:
    found = {s.key: s.node for t in build_plan(shipped("pro"), tier).tiers for s in t.servers}
    for key, node in found.items():
        name = key.rpartition("/")[2].removeprefix("haproxy@")
        assert node == (name if name in NODES else None), key
    assert (None in found.values()) is (tier == "cdn")


def test_checks_are_http_where_a_path_is_given() -> None:
    for given, kind in (({}, "tcp"), ({"path": "/up"}, "http")):
        haproxy = Haproxy.model_validate({"listen": "127.0.0.1:80", "health_check": given})
        plan = build_plan(settings(haproxy=haproxy), None)
        assert [check.kind for check in plan.checks] == [kind, kind]


def test_plan_is_the_same_for_every_process() -> None:
    """Supervisor, workers and control plan for themselves, from settings that went as JSON."""
    file = shipped("pro")
    sent = Settings.model_validate_json(file.model_dump_json())
    assert build_plan(sent, None) == build_plan(file, None)


# -- refused ------------------------------------------------------------------------------------


def test_unknown_tier_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EdgeError) as caught:
        build_plan(shipped("pro"), "haproxy")
    assert str(caught.value) == (
        "no tier 'haproxy' in the file;"
        " it has: cdn, elb, haproxy@node1, haproxy@node2, haproxy@node3"
    )


@pytest.mark.parametrize(
    ("tier", "right"),
    [("elb", "give it a `listen` address"), ("haproxy@n1", "give each node a `haproxy` address")],
)
def test_tier_without_an_address_is_refused_alone(tier: str, right: str) -> None:
    nodes = [Node(name="n1", web="127.0.0.1:1", haproxy="127.0.0.1:2" if tier == "elb" else None)]
    cdn = Cdn(listen="127.0.0.1:80")
    file = Settings(cdn=cdn, elb=Elb(), haproxy=Haproxy(), nodes=nodes)
    with pytest.raises(EdgeError, match=f"tier {tier} has no address .*: {right}$"):
        build_plan(file, tier)
    assert build_plan(file, None).listeners[0] == ListenerPlan("cdn", "127.0.0.1", 80)


def test_cdn_alone_needs_the_address_of_the_tier_behind() -> None:
    cdn = Cdn(listen="127.0.0.1:80")
    for behind in ({"elb": Elb()}, {"haproxy": Haproxy()}):
        with pytest.raises(EdgeError, match=f"{next(iter(behind))} has no `listen`"):
            build_plan(settings(cdn=cdn, **behind), "cdn")


def test_elb_alone_needs_the_address_of_every_machines_haproxy() -> None:
    nodes = [
        Node(name="n1", web="127.0.0.1:1", haproxy="127.0.0.1:11"),
        Node(name="n2", web="127.0.0.1:2"),
    ]
    file = Settings(elb=Elb(listen="127.0.0.1:80"), haproxy=Haproxy(), nodes=nodes)
    with pytest.raises(EdgeError, match="node n2 has no `haproxy` address"):
        build_plan(file, "elb")
    assert tiers(build_plan(file, None))["elb"] == ["elb/haproxy@n1", "elb/haproxy@n2"]


# -- sites of the cdn ---------------------------------------------------------------------------


def test_sites_and_shield_are_the_same_service_elsewhere() -> None:
    cdn = Cdn.model_validate(
        {
            "listen": "127.0.0.1:80",
            "pop": "FRA",
            "shield": "IAD",
            "sites": [{"pop": "LON", "listen": "127.0.0.1:81"}],
        }
    )
    plan = build_plan(settings(cdn=cdn), None)
    assert tiers(plan) == {
        "cdn": ["cdn/cdn@IAD"],
        "cdn@LON": ["cdn@LON/cdn@IAD"],
        "cdn@IAD": ["cdn@IAD/n1", "cdn@IAD/n2"],
    }
    first, london, shield = plan.tiers
    assert all(server.is_hop for tier in (first, london) for server in tier.servers)
    assert [tier.settings.pop for tier in plan.tiers if isinstance(tier.settings, Cdn)] == [
        "FRA", "LON", "IAD",
    ]  # fmt: skip
    assert isinstance(shield.settings, Cdn)
    assert shield.settings.max_stale_while_revalidate_s == 0
    assert plan.listeners == (
        ListenerPlan("cdn", "127.0.0.1", 80),
        ListenerPlan("cdn@LON", "127.0.0.1", 81),
    )


def test_sites_without_a_shield_have_the_origin_behind_them() -> None:
    cdn = Cdn.model_validate(
        {"listen": "127.0.0.1:80", "sites": [{"pop": "LON", "listen": "127.0.0.1:81"}]}
    )
    plan = build_plan(settings(cdn=cdn, elb=Elb()), None)
    assert [tier.next_tier for tier in plan.tiers] == ["elb", "elb", None]


def test_shield_of_a_split_cdn_is_in_its_process() -> None:
    cdn = Cdn.model_validate({"listen": "127.0.0.1:80", "shield": "IAD"})
    plan = build_plan(settings(cdn=cdn, elb=Elb.model_validate({"listen": "127.0.0.1:82"})), "cdn")
    assert tiers(plan) == {"cdn": ["cdn/cdn@IAD"], "cdn@IAD": ["cdn@IAD/elb"]}
