"""What must hold between keys of a configuration file: each check a pure function of its values.

The values are the plain ones of the file, not the checked models: a file with a misspelt duration
must still hear that two nodes share an address, all in one run. So these checks look at what has
the right shape and leave the rest to the models, which report it.
"""

from collections.abc import Iterator, Mapping
from typing import TypeGuard

from edge.check_rules import CONNECT_FIRST
from edge.settings.address import join_address, split_address
from edge.settings.balance import HASHED
from edge.settings.document import KeyPath, path_text
from edge.settings.elb_conflicts import unfit_elb
from edge.settings.rule_lines import find_rule_conflicts

Conflict = tuple[KeyPath, str]

# From the client inwards.
TIERS = ("cdn", "elb", "haproxy")
# Keys of the cdn that only one policy reads.
POLICY_OF = {
    "hit_for_pass": "fastly",
    "pass_no_store": "fastly",
    "heuristic": "rfc9111",
    "stale_if_disconnected": "rfc9111",
}


def find_conflicts(values: Mapping[str, object]) -> Iterator[Conflict]:
    """Every conflict as (path of the key to mend, what is wrong and what would be right)."""
    yield from _empty_sections(values)
    yield from _no_tier_or_listener(values)
    yield from _shared_addresses(values)
    yield from _shared_names(values)
    yield from _unfit_roles(values)
    yield from _unfit_policy(values)
    yield from _unreachable_stats(values)
    yield from _shared_pops(values)
    yield from _unused_hash(values)
    yield from _unfit_tcp(values)
    yield from _unused_networks(values)
    yield from _mixed_checks(values)
    yield from find_rule_conflicts(values)
    yield from _unfit_server_policy(values)
    yield from unfit_elb(_mapping(values.get("elb")))


def _empty_sections(values: Mapping[str, object]) -> Iterator[Conflict]:
    """A bare `haproxy:` reads as null, which would silently mean that there is no such tier."""
    cdn = _mapping(values.get("cdn"))
    for owner, path in ((values, ()), (cdn, ("cdn",))):
        for key in (*TIERS, "admin") if owner is values else ("service",):
            if key in owner and owner[key] is None:
                text = f"is empty: write `{key}: {{}}` for all defaults, or leave the key out"
                needs = {"admin": "listen", "service": "id"}.get(key)
                if needs:
                    text = f"is empty: it needs `{needs}`, or leave the key out"
                yield (*path, key), text


def _no_tier_or_listener(values: Mapping[str, object]) -> Iterator[Conflict]:
    tiers = [tier for tier in TIERS if tier in values]
    has_tcp = bool(values.get("tcp"))
    if not tiers and not has_tcp:
        yield (), "has no tier: give at least one of cdn, elb, haproxy, tcp"
    elif (
        tiers
        and not has_tcp
        and all(isinstance(values[tier], dict) for tier in tiers)
        and not any(
            _mapping(values[tier]).get("listen") or _mapping(values[tier]).get("zones")
            for tier in tiers
        )
    ):
        yield (tiers[0],), "nothing listens: add `listen: 127.0.0.1:8080` to this or another tier"


def _addresses(values: Mapping[str, object]) -> Iterator[tuple[KeyPath, object]]:
    for owner in (*TIERS, "admin"):
        yield (owner, "listen"), _mapping(values.get(owner)).get("listen")
    stats = _mapping(_mapping(values.get("haproxy")).get("stats"))
    yield ("haproxy", "stats", "listen"), stats.get("listen")
    for index, row in _tcp(values):
        yield ("tcp", index, "listen"), row.get("listen")
    for index, site in _sites(values):
        yield ("cdn", "sites", index, "listen"), site.get("listen")
    for zone, address in _mapping(_mapping(values.get("elb")).get("zones")).items():
        yield ("elb", "zones", zone), address
    for index, node in _nodes(values):
        yield ("nodes", index, "web"), node.get("web")
        yield ("nodes", index, "haproxy"), node.get("haproxy")


def _shared_addresses(values: Mapping[str, object]) -> Iterator[Conflict]:
    """One rule for all: two listeners cannot share an address, one web server is not two nodes, and
    a tier that connects to its own listener would serve itself for ever."""
    first_paths: dict[str, KeyPath] = {}
    for path, value in _addresses(values):
        if not isinstance(value, str):
            continue
        try:
            address = join_address(*split_address(value))
        except ValueError:
            continue
        first = first_paths.setdefault(address, path)
        if first != path:
            yield path, f"{address} is already the address of {path_text(first)}"


def _shared_names(values: Mapping[str, object]) -> Iterator[Conflict]:
    first_indexes: dict[str, int] = {}
    for index, node in _nodes(values):
        name = node.get("name")
        if isinstance(name, str) and first_indexes.setdefault(name, index) != index:
            first = f"nodes[{first_indexes[name]}]"
            yield ("nodes", index, "name"), f"{name!r} is the name of {first}; names are unique"


def _unfit_roles(values: Mapping[str, object]) -> Iterator[Conflict]:
    nodes = list(_nodes(values))
    for index, node in nodes:
        role = node.get("role", "both")
        if role == "core":
            for key in ("web", "haproxy"):
                if node.get(key) is not None:
                    text = "a core node gets no web traffic: leave this out, or set `role: both`"
                    yield ("nodes", index, key), text
        elif role in ("web", "both") and node.get("web") is None:
            text = "is missing: a node needs the address of its web server, unless `role: core`"
            yield ("nodes", index, "web"), text
    has_http = any(tier in values for tier in TIERS)
    if has_http and nodes and all(node.get("role") == "core" for _, node in nodes):
        yield ("nodes",), "every node is a core node: one at least must take web traffic"


def _unfit_policy(values: Mapping[str, object]) -> Iterator[Conflict]:
    cdn = _mapping(values.get("cdn"))
    policy = cdn.get("policy", "fastly")
    for key, reader in POLICY_OF.items():
        if key in cdn and policy != reader and policy in POLICY_OF.values():
            text = f"changes nothing under policy {policy}: leave it out, or set `policy: {reader}`"
            yield ("cdn", key), text


def _unreachable_stats(values: Mapping[str, object]) -> Iterator[Conflict]:
    haproxy = _mapping(values.get("haproxy"))
    if "stats" not in haproxy:
        return
    stats = haproxy["stats"]
    if stats is None or (isinstance(stats, dict) and not (stats.keys() & {"socket", "listen"})):
        yield ("haproxy", "stats"), "needs `socket` (a path), `listen` (an address), or both"


def _unused_hash(values: Mapping[str, object]) -> Iterator[Conflict]:
    """Keys that only a hash reads, and a bound that is none."""
    haproxy = _mapping(values.get("haproxy"))
    balance = str(haproxy.get("balance", "roundrobin")).split() or [""]
    is_hashed = balance[0].partition("(")[0] in HASHED
    is_ring = is_hashed and str(haproxy.get("hash_type", "")).startswith("consistent")
    if "hash_type" in haproxy and not is_hashed:
        text = f"changes nothing under `balance: {balance[0]}`: only {', '.join(sorted(HASHED))}"
        yield ("haproxy", "hash_type"), f"{text} hash"
    for key in ("hash_key", "hash_balance_factor"):
        if haproxy.get(key, 0) != 0 and not is_ring:
            text = "changes nothing without a hash and `hash_type: consistent`"
            yield ("haproxy", key), text
    factor = haproxy.get("hash_balance_factor", 0)
    if isinstance(factor, int) and 0 < factor <= 100:
        text = "must be above 100 (per cent of the mean), else nobody could be served; 0: no bound"
        yield ("haproxy", "hash_balance_factor"), text


def _unfit_server_policy(values: Mapping[str, object]) -> Iterator[Conflict]:
    haproxy = _mapping(values.get("haproxy"))
    for key, text in _unfit_policy_keys(haproxy):
        yield ("haproxy", key), text
    for name, row in _mapping(haproxy.get("backends")).items():
        backend = _mapping(row)
        inherited, own = (_mapping(rows.get("health_check")) for rows in (haproxy, backend))
        for key, text in _unfit_policy_keys(
            {**haproxy, **backend, "health_check": {**inherited, **own}}
        ):
            if key in backend:  # one that it inherits is for others
                yield ("haproxy", "backends", name, key), text


def _unfit_policy_keys(section: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    classes = section.get("retry_on")
    if isinstance(classes, list) and "none" in classes and len(classes) > 1:
        yield "retry_on", "`none` is for itself: leave it out, or the others"
    if _mapping(section.get("health_check")).get("enabled") is False:
        for key in ("observe", "on_marked_down", "on_marked_up"):
            if section.get(key) is not None:
                text = "needs health checks: nobody else could raise a server again"
                yield key, f"{text}; leave it out, or enable them"
    if section.get("observe") is None and "on_error" in section:
        yield "on_error", "changes nothing without `observe`: say what is observed"
    if section.get("retries") == 0 and classes not in (None, ["none"]):
        yield "retry_on", "changes nothing with `retries: 0`"


def _shared_pops(values: Mapping[str, object]) -> Iterator[Conflict]:
    cdn = _mapping(values.get("cdn"))
    named: list[tuple[KeyPath, object]] = [(("cdn", "pop"), cdn.get("pop", "FRA" if cdn else None))]
    named += [(("cdn", "sites", index, "pop"), site.get("pop")) for index, site in _sites(values)]
    named.append((("cdn", "shield"), cdn.get("shield")))
    first_paths: dict[str, KeyPath] = {}
    for path, pop in named:
        if isinstance(pop, str) and first_paths.setdefault(pop, path) != path:
            first = path_text(first_paths[pop])
            yield path, f"{pop} is already the site of {first}: every site has its own objects"


def _unfit_tcp(values: Mapping[str, object]) -> Iterator[Conflict]:
    """Names are those of tiers, so they are unique; and a listener has servers in one way."""
    first_indexes: dict[str, int] = {}
    for index, row in _tcp(values):
        name, given = row.get("name"), [key for key in ("servers", "node_port") if row.get(key)]
        if isinstance(name, str):
            if name in TIERS:
                yield ("tcp", index, "name"), f"{name} is the name of a tier of HTTP"
            elif first_indexes.setdefault(name, index) != index:
                first = f"tcp[{first_indexes[name]}]"
                yield ("tcp", index, "name"), f"{name!r} is the name of {first}; names are unique"
        if len(given) != 1:
            text = "needs servers: give `node_port`, a port of every node, or `servers`, not both"
            yield ("tcp", index), text
        elif given == ["node_port"]:
            yield from _nodes_without_host(values, index)
        yield from _shared_server_names(row, index)


def _nodes_without_host(values: Mapping[str, object], index: int) -> Iterator[Conflict]:
    nodes = [node for _, node in _nodes(values) if node.get("role") != "web"]
    if not nodes:
        yield ("tcp", index, "node_port"), "no node runs services: the role of each is web"
    for node in nodes:
        if not any(node.get(key) for key in ("host", "web", "haproxy")):
            text = f"the node {node.get('name')} has no address: give it `host`"
            yield ("tcp", index, "node_port"), text


def _shared_server_names(row: Mapping[str, object], index: int) -> Iterator[Conflict]:
    servers = row.get("servers")
    seen: set[object] = set()
    for at, server in enumerate(servers if isinstance(servers, list) else []):
        name = server.get("name") if isinstance(server, dict) else None
        if name is not None and name in seen:
            yield ("tcp", index, "servers", at, "name"), f"{name!r} is a server above already"
        seen.add(name)


def _unused_networks(values: Mapping[str, object]) -> Iterator[Conflict]:
    owners: list[tuple[KeyPath, Mapping[str, object]]] = [
        ((tier,), _mapping(values.get(tier))) for tier in TIERS
    ]
    owners += [(("tcp", index), row) for index, row in _tcp(values)]
    for path, owner in owners:
        if owner.get("accept_proxy_from") is not None and owner.get("accept_proxy") is not True:
            yield (*path, "accept_proxy_from"), "changes nothing without `accept_proxy: true`"


def _tcp(values: Mapping[str, object]) -> Iterator[tuple[int, Mapping[str, object]]]:
    rows = values.get("tcp")
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        if isinstance(row, dict):
            yield index, row


def _mixed_checks(values: Mapping[str, object]) -> Iterator[Conflict]:
    """Two ways to say what a check asks: one of them would be ignored."""
    for tier in TIERS:
        check = _mapping(_mapping(values.get(tier)).get("health_check"))
        yield from _mixed_check((tier, "health_check"), check)
    haproxy = _mapping(values.get("haproxy"))
    inherited = _mapping(haproxy.get("health_check"))
    for name, backend in _mapping(haproxy.get("backends")).items():
        own = _mapping(_mapping(backend).get("health_check"))
        if own:
            path = ("haproxy", "backends", name, "health_check")
            yield from _mixed_check(path, {**inherited, **own})


def _mixed_check(path: KeyPath, check: Mapping[str, object]) -> Iterator[Conflict]:
    http, tcp = check.get("http_check"), check.get("tcp_check")
    sends = [rule for rule in http if _begins(rule, "send")] if _is_list(http) else []
    expects = _is_list(http) and any(_begins(rule, "expect") for rule in http)
    for key, lines in (("http_check", http), ("tcp_check", tcp)):
        rules = [r for r in lines if not _begins(r, "comment")] if _is_list(lines) else []
        if any(_begins(rule, "connect") for rule in rules) and not _begins(rules[0], "connect"):
            yield (*path, key), CONNECT_FIRST
    if tcp and (http or check.get("path")):
        yield (*path, "tcp_check"), "asks over TCP, `path` and `http_check` over HTTP: keep one"
    for key in ("path", "method", "host"):
        if sends and key in check:
            yield (*path, key), f"the send rule of `http_check` has its own: leave {key} out"
    if expects and "expect" in check:
        yield (*path, "expect"), "the expect rules of `http_check` say it: leave this out"
    if check.get("disable_on_404") is True and not (http or check.get("path")):
        text = "is for HTTP checks: give `path` or `http_check`, or leave it out"
        yield (*path, "disable_on_404"), text


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _begins(rule: object, word: str) -> bool:
    return isinstance(rule, str) and rule.split()[:1] == [word]


def _sites(values: Mapping[str, object]) -> Iterator[tuple[int, Mapping[str, object]]]:
    rows = _mapping(values.get("cdn")).get("sites")
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        if isinstance(row, dict):
            yield index, row


def _nodes(values: Mapping[str, object]) -> Iterator[tuple[int, Mapping[str, object]]]:
    rows = values.get("nodes")
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        if isinstance(row, dict):
            yield index, row


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
