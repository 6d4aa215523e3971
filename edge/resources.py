"""What outlives a generation of processes: arena, cache, listening sockets, admin socket.

A generation is equipped (`equip`), and then either serves (`accept`) or did not come up (`undo`).
Until one of the two is called, everything that the generation before uses stays open.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from edge.activation import Activation, activation_from
from edge.clock import wall
from edge.console import say
from edge.errors import EdgeError
from edge.handover import ResourcesRecord, SocketRecord, close_unknown, known
from edge.job import ListenerJob
from edge.listen import Address, ListenSockets, open_alone
from edge.orders import Orders, ServerOrder
from edge.outcomes import OutcomePage
from edge.posts import HasRows, Outfit
from edge.settings.address import join_address
from edge.stats_sockets import StatsSockets
from edge.stick_tables import StickTables
from ext.arena import Arena
from ext.limits import AdminState, ServerState
from ext.store import Store

M = TypeVar("M")

TABLE = "table "  # what the names of stick tables begin with in a hand-over
LAYOUT = "this version has another layout of shared memory"

# What of a server's state is told by name to an arena of another layout.
STATE_FIELDS = (
    "state",
    "admin",
    "weight",
    "health",
    "checked",
    "check_status",
    "connect_fail_streak",
    "file_weight",
    "ramp",
    "ramp_began_at",
    "maxconn",
    "agent_down",
)


class Resources:
    """The supervisor's own. Equips one generation at a time.

    `record`: what an earlier program of this process hands over (`hand_over`).
    """

    def __init__(
        self, activation: Activation | None = None, record: ResourcesRecord | None = None
    ) -> None:
        self._activation = activation or Activation([])
        self._sockets = ListenSockets(self._activation)
        self._sizes_accepted: dict[Address, int] = {}
        self._admin: tuple[Address, socket.socket] | None = None
        self._admin_before: tuple[Address, socket.socket] | None = None
        self._stats = StatsSockets()
        self._tables = StickTables()
        self._targets: dict[str, str] = {}
        self._servers: dict[str, ServerOrder] = {}  # of the generation that serves, by key
        self._cache: Store | None = None
        self._cache_before: Store | None = None
        self.memory_before: tuple[Arena | None, Sequence[HasRows]] = (None, ())
        self.losses: list[str] = []  # what could not be taken over, for the operator
        if record is not None:
            self._take_over(record)
            return
        self._started_at = wall()
        self._run_secret = secrets.token_hex(16)
        self._arena = _new_arena()
        self.outcomes = OutcomePage.create()
        # Written when something of the cache that is waited for has moved; read by nobody.
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        os.set_inheritable(self._wake_fd, True)

    def hand_over(self) -> ResourcesRecord:
        """Everything here, for the program that replaces this one. Nothing changes by it."""
        memory = {"arena": self._arena.fd, "wake": self._wake_fd, "outcomes": self.outcomes.fd}
        if self._cache is not None:
            memory["cache"] = self._cache.fd
        memory |= {TABLE + name: fd for name, fd in self._tables.fds().items()}
        admin = None
        if self._admin is not None:
            address, listener = self._admin
            admin = SocketRecord(list(address), [listener.fileno()])
        return ResourcesRecord(
            memory=memory,
            data={
                "started_at": self._started_at,
                "run_secret": self._run_secret,
                "targets": self._targets,
                "servers": [asdict(server) for server in self._servers.values()],
                "states": states_of(self._arena),
                "note": self._arena.note().decode(),
                "tables": self._tables.hand_over(),
            },
            listening=self._sockets.hand_over(),
            stats=self._stats.hand_over(),
            admin=admin,
            activation=self._activation.hand_over(),
        )

    def _take_over(self, record: ResourcesRecord) -> None:
        """Sets `memory_before` to what the children that are handed over work with, as far as this
        version can read it. What it cannot read begins anew, except the states of servers."""
        data, memory = record.data, record.memory
        self._started_at = float(data["started_at"])
        self._run_secret = str(data["run_secret"])
        self._wake_fd = memory["wake"]
        self.outcomes = OutcomePage(memory["outcomes"])
        arena = _attached(Arena.attach, memory["arena"])
        # Rows of other memory are those of the arena: in another arena they belong to others.
        usable = {} if arena is None else memory
        cache = None
        if "cache" in usable:
            cache = _attached(lambda fd: Store.attach(fd, self._wake_fd), usable["cache"])
        fds = {
            name.removeprefix(TABLE): fd for name, fd in usable.items() if name.startswith(TABLE)
        }
        lost = self._tables.take_over(data.get("tables", {}), fds)
        with_rows: list[HasRows] = [*self._tables.everything()]
        if cache is not None:
            with_rows.append(cache)
        self.memory_before = (arena, with_rows)
        self.losses += [f"the stick table {name} begins empty: {LAYOUT}" for name in lost]
        if "cache" in memory and cache is None:
            self.losses.append(f"the cache begins empty: {LAYOUT}")
        if arena is None:
            self.losses.append(f"counters begin at zero: {LAYOUT}")
            arena = _new_arena()
            restore_states(arena, data.get("states", {}))
            arena.set_note(str(data.get("note", "")).encode())
        self._arena = arena
        self._cache = self._cache_before = cache
        self._activation = activation_from(record.activation)
        self._sockets = ListenSockets(self._activation)
        self._sockets.take_over(record.listening)
        self._sizes_accepted = self._sockets.sizes()
        self._stats.take_over(record.stats)
        if record.admin is not None:
            self._admin = record.admin.address, socket.socket(fileno=record.admin.fds[0])
            self._admin_before = self._admin
        self._targets = dict(data.get("targets", {}))
        servers = [known(ServerOrder, each) for each in data.get("servers", [])]
        self._servers = {server.key: server for server in servers}
        close_unknown(record, set(self.hand_over().descriptors()))

    def refuse_taken(self, orders: Orders) -> None:
        """ListenError when another process has an address that `equip` would open."""
        self._sockets.refuse_taken(orders.addresses())
        if orders.admin is not None and (self._admin is None or self._admin[0] != orders.admin):
            self._sockets.refuse_taken([orders.admin])

    def note(self) -> bytes:
        """What was changed at run time (`edge.registry`)."""
        return self._arena.note()

    def equip(self, orders: Orders, generation: int) -> Outfit:
        """Opens and names what is missing, for as many workers as there are sockets already.

        Raises EdgeError when an address cannot be had, or the arena has no slot left for another
        server or tier; `undo` must be called then, too.
        """
        size = self._sockets.size or orders.workers
        self._sockets.open(orders.addresses(), size)
        self._admin_before = self._admin
        self._admin = self._opened_admin(orders.admin)
        self._stats.open(orders.stats)
        self._tables.open(orders.tables)
        self._cache_before = self._cache
        self._cache = self._made_cache(orders.cache_bytes)
        return Outfit(
            arena=self._arena,
            settings=orders.settings,
            tier=orders.tier,
            generation=generation,
            slots=self._slots(orders),
            admin_fd=None if self._admin is None else self._admin[1].fileno(),
            listeners=[self._listener_jobs(orders, worker) for worker in range(size)],
            started_at=self._started_at,
            cache=self._cache,
            run_secret=self._run_secret,
            stats_fds=self._stats.fds(orders.stats),
            tables=self._tables.of(orders.tables),
            outcomes_fd=self.outcomes.fd,
        )

    def accept(self, orders: Orders) -> None:
        """The generation of `orders` serves: closes what only the one before used."""
        self._sockets.keep_only(orders.addresses())
        self._sizes_accepted = self._sockets.sizes()
        if self._admin_before is not None and self._admin_before is not self._admin:
            self._admin_before[1].close()
        self._admin_before = self._admin
        self._stats.accept(orders.stats)
        self._tables.accept(orders.tables)
        _close_cache(self._cache_before, self._cache)
        self._cache_before = self._cache
        self._take_weights(orders)
        self._servers = {server.key: server for server in orders.servers}
        wanted = [*orders.addresses(), *([orders.admin] if orders.admin else [])]
        for host, port in self._activation.unused(wanted):
            say(f"systemd listens on {join_address(host, port)}, which no tier of the file does")

    def grow(self, orders: Orders, outfit: Outfit) -> Outfit:
        """The outfit with one more socket per address for each further worker that is wanted.

        Only for a generation that serves: whatever connects to a new socket waits for its worker,
        so the worker must come. Raises ListenError, and then nothing has changed.
        """
        size = len(outfit.listeners)
        if orders.workers < size:
            say(
                f"workers stays {size} until a restart, not {orders.workers}: closing a listening "
                "socket would reset the connections that wait on it"
            )
        if orders.workers <= size:
            return outfit
        self._sockets.open(orders.addresses(), orders.workers)
        self._sizes_accepted = self._sockets.sizes()
        jobs = [self._listener_jobs(orders, worker) for worker in range(orders.workers)]
        return replace(outfit, listeners=jobs)

    def undo(self) -> None:
        """The generation did not come up: closes what only it would have used."""
        self._sockets.cut_back(self._sizes_accepted)
        if self._admin is not None and self._admin is not self._admin_before:
            self._admin[1].close()
        self._admin = self._admin_before
        self._stats.undo()
        self._tables.undo()
        _close_cache(self._cache, self._cache_before)
        self._cache = self._cache_before

    def stop_listening(self) -> None:
        """Closes the copies here: an address is refused as soon as its workers close theirs.

        The admin socket stays: control answers until the last worker has gone.
        """
        self._sockets.keep_only([])

    def admin_address(self) -> Address | None:
        """Where the admin API listens, with its real port."""
        if self._admin is None:
            return None
        host, port = self._admin[1].getsockname()[:2]
        return host, port

    def _opened_admin(self, address: Address | None) -> tuple[Address, socket.socket] | None:
        if address is None:
            return None
        if self._admin is not None and self._admin[0] == address:
            return self._admin
        return address, open_alone(address, self._activation)

    def _made_cache(self, size_bytes: int | None) -> Store | None:
        """The cache that is there while its size is the same: another size begins empty."""
        if size_bytes is None:
            return None
        if self._cache is not None and self._cache.stats()["size_bytes"] == size_bytes:
            return self._cache
        try:
            return Store.create(size_bytes, self._wake_fd)
        except (OSError, MemoryError) as error:
            raise EdgeError(f"cannot make the cache: {error}") from error

    def _listener_jobs(self, orders: Orders, worker: int) -> list[ListenerJob]:
        jobs = []
        for tier, address in orders.listeners:
            host, port = self._sockets.bound_to(address)
            jobs.append(ListenerJob(tier, host, port, self._sockets.fd(address, worker)))
        return jobs

    def _slots(self, orders: Orders) -> dict[str, dict[str, int]]:
        known = self._arena.server_names()
        try:
            return {
                "tiers": {name: self._arena.tier_slot(name) for name in orders.tiers},
                "servers": {
                    server.key: self._server_slot(server, known) for server in orders.servers
                },
            }
        except ValueError as error:
            # Slots are never freed: many reloads with ever new names end here, too.
            raise EdgeError(f"the shared memory is full: {error}; a restart empties it") from error

    def _server_slot(self, server: ServerOrder, known: Collection[str]) -> int:
        """The slot of a server; its state is kept over generations while it is the same machine."""
        starts_down = not server.starts_up and server.key not in known
        slot = self._arena.server_slot(server.key)
        if server.key not in self._servers:
            self._arena.set_server(
                slot,
                weight=server.weight,
                file_weight=server.weight,
                ramp=0,
                maxconn=0,
                agent_down=False,
            )
            self._arena.move_server(slot, "", 0)
        if starts_down or self._targets.get(server.key, server.target) != server.target:
            self._arena.set_server(
                slot,
                state=ServerState.UP if server.starts_up else ServerState.DOWN,
                health=0,
                checked=False,
                check_status="",
                connect_fail_streak=0,
                agent_down=False,
            )
        self._targets[server.key] = server.target
        if server.key not in self._servers:
            self._arena.set_server(slot, admin=self._admin_state(server.node))
        return slot

    def _take_weights(self, orders: Orders) -> None:
        """What an operator has set at run time stays until the file gives another weight."""
        for server in orders.servers:
            slot = self._arena.server_slot(server.key)
            if self._arena.server(slot)["file_weight"] != server.weight:
                self._arena.set_server(slot, weight=server.weight, file_weight=server.weight)

    def _admin_state(self, node: str | None) -> AdminState:
        """What the operator wants of a node: a server that a reload adds to one that is drained
        gets nothing either."""
        wanted = (
            AdminState(self._arena.server(self._arena.server_slot(server.key))["admin"])
            for server in self._servers.values()
            if node is not None and server.node == node
        )
        return max(wanted, default=AdminState.READY)


def states_of(arena: Arena) -> dict[str, dict[str, Any]]:
    """The state of every server by name, as plain values; `weight` is the user's."""
    found = {}
    for name, slot in arena.server_names().items():
        view = arena.server(slot)
        values = {key: value for key, value in view.items() if key in STATE_FIELDS}
        found[name] = values | {"weight": view["user_weight"]}
    return found


def restore_states(arena: Arena, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Gives the servers of an arena the states that they had elsewhere."""
    for name, state in states.items():
        values = {key: value for key, value in state.items() if key in STATE_FIELDS}
        arena.set_server(arena.server_slot(name), **values)


def _new_arena() -> Arena:
    try:
        return Arena.create()
    except OSError as error:
        raise EdgeError(f"cannot make the shared memory: {error}") from error


def _attached(attach: Callable[[int], M], fd: int) -> M | None:
    """None when the memory is not of this version."""
    try:
        return attach(fd)
    except ValueError:
        return None


def _close_cache(cache: Store | None, kept: Store | None) -> None:
    """Lets a cache's memory go, once the last process that maps it ends."""
    if cache is not None and cache is not kept:
        os.close(cache.fd)
