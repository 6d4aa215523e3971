"""A worker process: builds the data path from the plan and serves until SIGTERM.

Started by the supervisor as `python -m edge.worker JOB_FD`. It makes the C objects of `ext`
(tiers, servers, one Entry per listener), accepts on the inherited sockets, advances the timer
wheel, and on SIGTERM drains: it takes what is already in the accept queues, closes the listeners,
ends every connection after its running request, and exits 0.

The only Python that runs per connection is uvloop's accept; none of this module runs per request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import resource
import signal
import socket
import sys
import zlib
from collections.abc import Coroutine
from typing import Any

import uvloop

from edge.balancing import make_balancer, make_key
from edge.clock import wall
from edge.identity import fastly_options
from edge.job import Job, ListenerJob, announce_ready, end_with_parent, read_job
from edge.judging import judge_tiers
from edge.layer4 import PROXY_VERSIONS, proxy_peers, tcp_tier_options, tcp_times_ms
from edge.plan import Plan, ServerPlan, TierPlan, build_plan
from edge.purges import make_purger
from edge.settings import Settings
from edge.settings.address import split_address
from edge.settings.cdn import Cdn
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.persistence import Cookie as CookieSettings
from edge.settings.rule_lines import has_rules
from edge.settings.tcp import Tcp
from edge.stick_tables import attach_tables
from ext.arena import Arena
from ext.cache import Cache
from ext.deliver import Marks
from ext.desync import DesyncMode
from ext.forward import Recipe
from ext.freshness import Policy
from ext.limits import Limit
from ext.observe import Layer
from ext.orders import Orders
from ext.persist import Cookie
from ext.retry import RetryOn
from ext.session import Session
from ext.site import Entry, Site
from ext.sticky import Stickiness
from ext.store import Store
from ext.tcp import TcpEntry
from ext.upstream import Server, Tier

DESYNC_MODES = {
    "monitor": DesyncMode.DESYNC_MONITOR,
    "defensive": DesyncMode.DESYNC_DEFENSIVE,
    "strictest": DesyncMode.DESYNC_STRICTEST,
}
CODINGS = {"gzip": 1, "br": 2}  # Coding in ext/encoding.pxd
NO_LIMIT_S = 4_000_000.0  # in milliseconds it still fits 32 bits
# What no tier in front of a haproxy does to a request.
NOTHING: dict[str, Any] = {
    "x_forwarded_for": "preserve",
    "x_forwarded_proto": "off",
    "x_forwarded_host": "off",
    "x_forwarded_port": "off",
    "forwarded": False,
    "via": None,
    "date": False,
}
KINDS = {"cdn": 0, "elb": 1, "haproxy": 2, "tcp": 3}  # TierKind in ext/upstream.pxd
# Kept connections to a node are closed before common servers close theirs (Apache: 5 s), so that
# a request seldom meets a connection that is being closed.
KEPT_S = 4.0
DATE_S = 1.0
ACCEPT_BACKLOG = 4096
FULLCONN_PART = 10  # HAProxy's automatic `fullconn`: a tenth of the connections
HASHED = frozenset({"source", "uri", "url_param", "hdr"})  # a retry would go to the same server
POOL_PURGE_S = 5.0  # HAProxy's default, for tiers that have no such key
RETRY_DEFAULT = RetryOn.ON_CONNECT | RetryOn.ON_EMPTY
RETRY_CLASSES = {
    "none": 0,
    "conn-failure": RetryOn.ON_CONNECT,
    "empty-response": RetryOn.ON_EMPTY,
    "junk-response": RetryOn.ON_JUNK,
    "response-timeout": RetryOn.ON_TIMEOUT,
    "0rtt-rejected": 0,
}
RETRY_CLASSES["all-retryable-errors"] = (
    RETRY_DEFAULT
    | RetryOn.ON_JUNK
    | RetryOn.ON_TIMEOUT
    | RetryOn.ON_500
    | RetryOn.ON_502
    | RetryOn.ON_503
    | RetryOn.ON_504
)
LAYERS = {None: Layer.LAYER_NONE, "layer4": Layer.LAYER_4, "layer7": Layer.LAYER_7}
DESCRIPTORS_OWN = 64  # sockets, arena, epoll and what libraries open


class Worker:
    """One worker's objects. `site` is None until `start`."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop
        self._settings = Settings.model_validate_json(job.settings_json())
        self._plan: Plan = build_plan(self._settings, job.tier)
        self._arena = Arena.attach(job.arena_fd)
        self._site = Site(loop, self._arena)
        self._store = attach_store(job)
        self._tables = attach_tables(job.table_fds, job.row)
        self._tiers: dict[str, Tier] = {}
        self._orders: Orders | None = None
        self._listening: list[tuple[asyncio.Server, socket.socket, Entry | TcpEntry]] = []
        self._stickies: list[Stickiness] = []
        self._stopped = asyncio.Event()
        self._drained = asyncio.Event()

    async def start(self) -> None:
        """Builds everything and accepts."""
        for planned in self._plan.tiers:
            self._tiers[planned.name] = self._make_tier(planned)
        for planned in self._plan.tiers:
            self._wire(planned)
        for planned in self._plan.tiers:
            self._connect_hops(planned)
        judge_tiers(self._plan, self._tiers, self._site, self._tables)
        self._site.start(self._store)
        assert self._job.row is not None
        self._orders = Orders(self._site, self._arena, self._job.row, list(self._tiers.values()))
        for listener in self._job.listeners:
            await self._listen(listener)
        self._tick()
        self._tell_date()

    async def run(self) -> None:
        """Serves until `stop`, then until every connection has ended."""
        await self._stopped.wait()
        # What is in the accept queues was accepted by the kernel in our name: take it first.
        await asyncio.sleep(2 * Limit.TICK_MS / 1000)
        await asyncio.gather(*self._accept_last())
        self._site.drain()
        # The supervisor bounds the drain too; this is for when it is no longer there.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained.wait(), self._settings.drain_s)
        for tier in self._tiers.values():
            tier.close_idle()
        await asyncio.sleep(0)

    def _accept_last(self) -> list[Coroutine[Any, Any, Any]]:
        """Closes the listeners; what came since the loop last looked is accepted, not reset."""
        accepted = []
        for server, sock, entry in self._listening:
            with contextlib.suppress(OSError):  # BlockingIOError: none is left
                while True:
                    connection, _ = sock.accept()
                    connection.setblocking(False)
                    accepted.append(self._loop.connect_accepted_socket(entry, connection))
            server.close()
        return accepted

    def stop(self) -> None:
        self._stopped.set()

    # -- building --------------------------------------------------------------------------------

    def _make_tier(self, planned: TierPlan) -> Tier:
        slot = self._job.slots["tiers"][planned.name]
        assert self._job.row is not None
        return Tier(
            planned.name,
            KINDS[planned.kind],
            self._arena,
            self._job.row,
            slot,
            tier_options(planned.settings),
        )

    def _wire(self, planned: TierPlan) -> None:
        tier = self._tiers[planned.name]
        slots = self._job.slots["servers"]
        assert self._job.row is not None
        rows = [(slots[server.key], server.maxconn, server.backup) for server in planned.servers]
        balancer = make_balancer(self._arena, self._job.row, rows, planned)
        servers = [
            self._make_server(tier, index, server, planned.settings.send_proxy)
            for index, server in enumerate(planned.servers)
        ]
        next_tier = self._tiers[planned.next_tier] if planned.next_tier else None
        tier.wire(balancer, servers, next_tier)
        if isinstance(planned.settings, Elb):
            sticky = self._make_stickiness(planned, planned.settings)
            tier.balance_as_alb(sticky, *alb_options(planned.settings))
        if isinstance(planned.settings, Haproxy) and planned.settings.cookie is not None:
            tier.keep_clients(self._make_cookie(planned, planned.settings.cookie))

    def _make_server(self, tier: Tier, index: int, planned: ServerPlan, send_proxy: str) -> Server:
        host, port = split_address(planned.address) if planned.address else ("", 0)
        wheel, readiness = self._site.parts
        assert self._job.row is not None
        server = Server(
            planned.name,
            tier,
            self._arena,
            self._job.row,
            self._job.slots["servers"][planned.key],
            index,
            host,
            port,
            planned.maxconn,
            self._tiers[planned.next_tier] if planned.next_tier and not planned.is_hop else None,
            self._loop,
            wheel,
            readiness,
            minconn=planned.minconn,
            maxqueue=planned.maxqueue,
        )
        if planned.address is not None:
            server.announce_clients(PROXY_VERSIONS[send_proxy])
        return server

    def _make_stickiness(self, planned: TierPlan, settings: Elb) -> Stickiness | None:
        group = settings.target_group
        if not group.stickiness_enabled:
            return None
        slots = self._job.slots["servers"]
        by_app = group.stickiness_type == "app_cookie"
        name = group.stickiness_app_cookie_cookie_name or ""
        sticky = Stickiness(
            self._arena,
            [(server.name, slots[server.key]) for server in planned.servers],
            (settings.stickiness_secret or self._job.run_secret).encode(),
            duration_s=(
                group.stickiness_app_cookie_duration_seconds
                if by_app
                else group.stickiness_lb_cookie_duration_seconds
            ),
            app_cookie=name.encode() if by_app else None,
        )
        sticky.tell_date(wall())
        self._stickies.append(sticky)
        return sticky

    def _make_cookie(self, planned: TierPlan, settings: CookieSettings) -> Cookie:
        slots = self._job.slots["servers"]
        servers = [(server.cookie, slots[server.key]) for server in planned.servers]
        return Cookie(self._arena, servers, cookie_options(settings))

    def _connect_hops(self, planned: TierPlan) -> None:
        """Servers that are another site in this process."""
        for server, made in zip(planned.servers, self._tiers[planned.name].servers, strict=True):
            if server.is_hop:
                assert server.next_tier is not None
                made.reach(self._make_entry(server.next_tier))

    async def _listen(self, listener: ListenerJob) -> None:
        sock = socket.socket(fileno=listener.fd)
        sock.setblocking(False)
        entry = self._make_listener_entry(listener.tier)
        server = await self._loop.create_server(entry, sock=sock, backlog=ACCEPT_BACKLOG)
        self._listening.append((server, sock, entry))

    def _make_listener_entry(self, tier_name: str) -> Entry | TcpEntry:
        planned = next(tier for tier in self._plan.tiers if tier.name == tier_name)
        settings = planned.settings
        entry: Entry | TcpEntry
        if isinstance(settings, Tcp):
            key = make_key([planned], planned.kind)
            entry = TcpEntry(self._site, self._tiers[tier_name], tcp_times_ms(settings), key)
        else:
            entry = self._make_entry(tier_name)
        if peers := proxy_peers(settings):
            entry.expect_proxy(peers)
        return entry

    def _make_entry(self, tier_name: str) -> Entry:
        """The chain that begins at a tier, as far as it is in this process."""
        planned = {tier.name: tier for tier in self._plan.tiers}
        chain = chain_from(planned, tier_name)
        tiers: dict[str, Tier | None] = {"cdn": None, "elb": None, "haproxy": None}
        for tier in chain:
            # Behind an elb the haproxy depends on the target, which is picked per request.
            if tier.kind != "haproxy" or tiers["elb"] is None:
                tiers[tier.kind] = self._tiers[tier.name]
        slowest = answer_limit(chain)
        asking, own = self._recipes(chain)
        return Entry(
            self._site,
            Session,
            Recipe([hop_options(tier, self._job.run_secret) for tier in chain]),
            cdn=tiers["cdn"],
            elb=tiers["elb"],
            haproxy=tiers["haproxy"],
            asking=asking,
            own=own,
            front_ms=front_limit_ms(chain),
            cache=self._make_cache(chain[0]),
            elb_key=make_key(chain, "elb"),
            haproxy_key=make_key(chain, "haproxy"),
            answer_ms=round(slowest.http.timeouts.server_s * 1000),
            between_ms=min(between_bytes_ms(tier.http) for tier in chain),
            answer_kind=KINDS[slowest.kind],
            outer=outer_recipes(chain, self._job.run_secret),
        )

    def _recipes(self, chain: list[TierPlan]) -> tuple[Recipe | None, Recipe | None]:
        """Where the haproxy tier has rules: what the tiers in front of it do to requests, and what
        it does itself, which comes after its rules."""
        *front, last = chain
        if not isinstance(last.settings, Haproxy) or not has_rules(last.settings):
            return None, None
        hops = [hop_options(tier, self._job.run_secret) for tier in front]
        own = hop_options(last, self._job.run_secret)
        return Recipe(hops or [NOTHING | {"port": last.port}]), Recipe([own])

    def _make_cache(self, outermost: TierPlan) -> Cache | None:
        settings = outermost.settings
        if not isinstance(settings, Cdn):
            return None
        assert self._store is not None
        cdn = self._settings.cdn
        assert cdn is not None
        node = node_name(settings.pop)
        # A purge at the edge is one of its shield, too.
        purger = make_purger(self._store, cdn, node)
        return Cache(self._store, Marks(node, settings.pop), cache_options(settings), purger)

    # -- time --------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._loop.call_later(Limit.TICK_MS / 1000, self._tick)
        self._site.tick()
        if self._orders is not None:
            self._orders.look()
        for tier in self._tiers.values():
            tier.poll()
        if self._site.draining and not self._site.sessions and not self._has_orphans():
            self._drained.set()

    def _has_orphans(self) -> bool:
        """Requests whose clients are gone, but which a server is still carrying out."""
        return bool(self._site.fetchers) or any(tier.orphans for tier in self._tiers.values())

    def _tell_date(self) -> None:
        self._site.tell_date()
        for sticky in self._stickies:
            sticky.tell_date(wall())
        self._loop.call_later(DATE_S, self._tell_date)


def chain_from(planned: dict[str, TierPlan], name: str) -> list[TierPlan]:
    """The tiers a request passes that enters at `name`; of several haproxies, the first stands
    for all, since they share their settings."""
    chain = [planned[name]]
    while True:
        tier = chain[-1]
        behind = tier.next_tier or next(
            (s.next_tier for s in tier.servers if s.next_tier and not s.is_hop), None
        )
        if behind is None:
            return chain
        chain.append(planned[behind])


def outer_recipes(chain: list[TierPlan], run_secret: str) -> list[Recipe | None]:
    """For each kind of tier, what the tiers in front of it do to an answer that it makes itself."""
    recipes: list[Recipe | None] = [None] * KINDS["tcp"]  # the kinds of HTTP come first
    for index, tier in enumerate(chain[1:], 1):
        recipes[KINDS[tier.kind]] = Recipe(
            [hop_options(outer, run_secret) for outer in chain[:index]]
        )
    return recipes


def front_limit_ms(chain: list[TierPlan]) -> int:
    """Longest wait for an answer's head of the tiers in front of the last one."""
    waits_s = [tier.settings.timeouts.server_s for tier in chain[:-1]]
    return round(min(waits_s, default=NO_LIMIT_S) * 1000)


def answer_limit(chain: list[TierPlan]) -> TierPlan:
    """The tier that is the first to lose patience with an answer; the innermost of equals."""
    return min(reversed(chain), key=lambda tier: tier.http.timeouts.server_s)


def between_bytes_ms(settings: Cdn | Elb | Haproxy) -> int:
    timeouts = settings.timeouts
    between_s = timeouts.server_s if timeouts.between_bytes_s is None else timeouts.between_bytes_s
    return round(between_s * 1000)


def hop_options(planned: TierPlan, run_secret: str) -> dict[str, Any]:
    """What one tier does to a request's identity fields, for `ext.forward.Recipe`."""
    forwarded = planned.http.forwarded
    options: dict[str, Any] = {
        "x_forwarded_for": forwarded.x_forwarded_for,
        "x_forwarded_proto": forwarded.x_forwarded_proto,
        "x_forwarded_host": forwarded.x_forwarded_host,
        "x_forwarded_port": forwarded.x_forwarded_port,
        "forwarded": forwarded.forwarded,
        "via": forwarded.via,
        "port": planned.port,
        "date": planned.kind == "cdn",
    }
    if isinstance(planned.settings, Elb):
        options["alb"] = {
            "drop_invalid_header_fields": (
                planned.settings.routing_http_drop_invalid_header_fields_enabled
            ),
            "preserve_host_header": planned.settings.routing_http_preserve_host_header_enabled,
        }
    if isinstance(planned.settings, Cdn):
        node = node_name(planned.settings.pop)
        options["fastly"] = fastly_options(planned.settings, node, planned.port, run_secret)
    return options


def node_name(pop: str) -> str:
    """The name of this machine in a site, as in X-Served-By: cache-fra12345-FRA."""
    number = zlib.crc32(socket.gethostname().encode()) % 100_000
    return f"cache-{pop.lower()}{number:05d}-{pop}"


def attach_store(job: Job) -> Store | None:
    """The cdn's memory, where this process has a cdn."""
    if job.cache_fd is None or job.wake_fd is None or job.row is None:
        return None
    return Store.attach(job.cache_fd, job.wake_fd, job.row)


def cache_options(settings: Cdn) -> dict[str, Any]:
    """The cdn's settings as the ready numbers that `ext.cache.Cache` takes."""
    rules: dict[str, Any] = {
        "pass_s": round(settings.hit_for_pass_s),
        "passes_no_store": settings.pass_no_store,
        "disconnected_s": round(settings.stale_if_disconnected_s),
        "heuristic_percent": settings.heuristic.percent,
        "heuristic_max_s": round(settings.heuristic.max_s),
    }
    if settings.max_stale_while_revalidate_s is not None:
        rules["stale_while_revalidate_max_s"] = round(settings.max_stale_while_revalidate_s)
    if settings.max_stale_if_error_s is not None:
        rules["stale_if_error_max_s"] = round(settings.max_stale_if_error_s)
    return {
        "policy": Policy.FASTLY if settings.policy == "fastly" else Policy.RFC9111,
        "default_ttl_s": round(settings.default_ttl_s),
        "max_object_bytes": settings.cache.max_object_bytes,
        "pop": settings.pop,
        "node": node_name(settings.pop),
        "rules": rules,
        "compression": compression_options(settings),
        "platform": platform_options(settings),
    }


def alb_options(settings: Elb) -> tuple[int, bool]:
    """The desync mode, and whether the targets are said to speak another HTTP than we do."""
    mode = settings.routing_http_desync_mitigation_mode
    return DESYNC_MODES[mode], settings.target_group.protocol_version != "HTTP1"


def cookie_options(settings: CookieSettings) -> dict[str, Any]:
    """HAProxy's `cookie` as `ext.persist.Cookie` takes it."""
    names = ("name", "mode", "indirect", "nocache", "postonly", "preserve", "persist")
    attributes = [f"domain={domain}" for domain in settings.domains]
    attributes += ["HttpOnly"] * settings.httponly + ["Secure"] * settings.secure
    attributes += settings.attributes
    return {name: getattr(settings, name) for name in names} | {
        "maxidle_s": round(settings.maxidle_s),
        "maxlife_s": round(settings.maxlife_s),
        "tail": "".join(f"; {attribute}" for attribute in attributes),
    }


def platform_options(settings: Cdn) -> dict[str, int]:
    """Fastly's own limits, as `ext.platform.Platform` takes them; 0: none."""
    names = ("url_bytes", "cookie_bytes", "response_header_bytes", "response_header_count")
    keeps = settings.keeps_platform_limits
    limits = {name: getattr(settings.limits, name) if keeps else 0 for name in names}
    return limits | {"own_refusals": not keeps}


def compression_options(settings: Cdn) -> dict[str, Any]:
    """Which answers the cache compresses, as `ext.cache.Cache` takes it."""
    compression = settings.compression
    formats = compression.formats if settings.compresses else []
    return {
        "codings": [CODINGS[name] for name in formats],
        "types": [name.encode() for name in compression.content_types],
        "extensions": [name.encode() for name in compression.extensions],
        "min_size_bytes": compression.min_size_bytes,
    }


def connections_max() -> int:
    """Client connections that leave an eighth of the descriptors for servers and ourselves."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, descriptors - max(DESCRIPTORS_OWN, descriptors // 8))


def tier_options(settings: Cdn | Elb | Haproxy | Tcp) -> dict[str, Any]:
    """One tier's settings as the ready numbers that `ext.upstream.Tier` takes."""
    if isinstance(settings, Tcp):
        return tcp_tier_options(settings, connections_max())
    timeouts = settings.timeouts
    queue_s = timeouts.connect_s if timeouts.queue_s is None else timeouts.queue_s
    seconds = {
        "connect": timeouts.connect_s,
        "client": timeouts.client_s,
        "server": timeouts.server_s,
        "http_request": timeouts.http_request_s,
        "http_keep_alive": timeouts.http_keep_alive_s,
        "queue": queue_s,
        "tunnel": timeouts.tunnel_s,
    }
    checked = settings.health_check.enabled
    connections = settings.max_connections or connections_max()
    purge_s = getattr(settings, "pool_purge_delay_s", POOL_PURGE_S)
    return {
        "limits": settings.limits.model_dump(),
        "timeouts_ms": {name: max(1, round(value * 1000)) for name, value in seconds.items()},
        # The CDN repeats a fetch once, as Fastly's generated VCL restarts once.
        "retries": getattr(settings, "retries", 1),
        "redispatch": int(getattr(settings, "redispatch", 1)),
        **retry_options(settings),
        **observe_options(settings),
        "fullconn": getattr(settings, "fullconn", None) or max(1, connections // FULLCONN_PART),
        "reuse": getattr(settings, "http_reuse", "always"),
        "purge_ms": round(purge_s * 1000),
        "retry_after_s": round(getattr(settings, "retry_after_s", 0)),
        # Without a check nobody could raise a server again that a worker took down.
        "error_limit": getattr(settings, "error_limit", 0) if checked else 0,
        "idle_max": settings.max_idle_per_server if purge_s else 0,
        "idle_ms": round(KEPT_S * 1000),
        "connections_max": connections,
        "is_hash": balance_name(settings) in HASHED,
    }


def balance_name(settings: Cdn | Elb | Haproxy) -> str:
    """The algorithm's name, without its arguments."""
    return re.split(r"[ (]", str(getattr(settings, "balance", "")))[0]


def retry_options(settings: Cdn | Elb | Haproxy) -> dict[str, Any]:
    """What is repeated, as bits of `RetryOn`; 0rtt-rejected is TLS 1.3's and never happens here."""
    names = getattr(settings, "retry_on", None)
    bits = RETRY_DEFAULT if names is None else 0
    for name in names or ():
        bits |= RetryOn[f"ON_{name}"] if isinstance(name, int) else RETRY_CLASSES[name]
    return {"retry_on": int(bits), "retry_unsafe": getattr(settings, "retry_unsafe", False)}


def observe_options(settings: Cdn | Elb | Haproxy) -> dict[str, Any]:
    """Passive health; without a check nobody could raise a server again."""
    layer = getattr(settings, "observe", None) if settings.health_check.enabled else None
    return {
        "observe": LAYERS[layer],
        "marks_down": getattr(settings, "on_error", "") == "mark-down",
    }


async def serve(job: Job) -> None:
    """Runs one worker to its end."""
    loop = asyncio.get_running_loop()
    worker = Worker(job, loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    await worker.start()
    # Everything alive now lives for ever: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    announce_ready(job.ready_fd)
    await worker.run()


def main() -> None:
    """Entry of `python -m edge.worker JOB_FD`."""
    job = read_job(int(sys.argv[1]))
    end_with_parent(job.supervisor_pid)
    uvloop.run(serve(job))


if __name__ == "__main__":
    main()
