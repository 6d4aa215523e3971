"""The command line: `edge run | check | schema | purge | demo`, and what operates a running edge:
`edge status | drain | ready | maint | rollout | reload | upgrade`.

Each command imports what it needs when it runs, so `edge check` in an editor or a pipeline does
not pay for the data path. Exit status: 0 good, 1 the file or the run is at fault, 2 the command
line is, 3 an order was given but has not had its effect in time, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge import __version__

if TYPE_CHECKING:
    from edge.admin_client import Remote

WORKERS_MAX = 128
DEMO_SECONDS_MAX = 7 * 24 * 3600
DRAIN_S_DEFAULT = 60.0  # longer than a request may take by default, shorter than a tunnel
HEALTH_S_DEFAULT = 60.0  # a restart of PHP and several checks
RELOAD_S_DEFAULT = 60.0  # twice what the supervisor gives a new generation
UPGRADE_S_DEFAULT = 120.0  # twice what the supervisor gives a rehearsal
WAIT_S_MAX = 24 * 3600.0
WATCH_S_DEFAULT = 1.0
EXIT_LATE = 3
EXIT_INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status."""
    options = build_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:
        # The reader of our output (`| head`) went away, which is its right.
        sys.stderr.close()
        return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="edge", description="The data plane of an Adobe Commerce Pro cluster in one program."
    )
    parser.add_argument("--version", action="version", version=f"edge {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="serve in the foreground until SIGTERM")
    run.add_argument("config", metavar="CONFIG", help="the YAML file")
    run.add_argument("--tier", metavar="T", help="run only this tier: cdn, elb, haproxy@node1, ...")
    run.add_argument(
        "--workers",
        metavar="N",
        type=_whole_number(1, WORKERS_MAX),
        help="worker processes (default: the file's, else one per processor)",
    )
    run.set_defaults(command=run_edge)

    check = commands.add_parser("check", help="read a file and say what is wrong with it")
    check.add_argument("config", metavar="CONFIG", help="the YAML file")
    check.set_defaults(command=check_config)

    schema = commands.add_parser("schema", help="print the JSON schema of the file")
    schema.set_defaults(command=print_schema)

    _add_purge(commands)
    _add_status(commands)
    _add_nodes(commands)
    _add_rollout(commands)
    _add_node(commands)
    _add_reload(commands)
    _add_upgrade(commands)

    demo = commands.add_parser("demo", help="run three shop nodes and the whole chain before them")
    demo.add_argument(
        "--seconds",
        metavar="N",
        type=_whole_number(1, DEMO_SECONDS_MAX),
        help="stop after this time (default: at Ctrl-C)",
    )
    demo.set_defaults(command=run_demo)
    return parser


def _add_purge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    purge = commands.add_parser(
        "purge",
        help="purge the cache of a running edge: a URL, surrogate keys, or all",
        usage="edge purge [CONFIG] (URL | --key KEY [--key KEY ...] | --all) [--soft]\n"
        "                  [--admin ADDRESS] [--token TOKEN] [--service-id ID]",
        epilog="CONFIG is the file that edge runs: it has the admin address, the service and its"
        " token. Without it they come from the options, or from FASTLY_API_TOKEN and"
        " FASTLY_SERVICE_ID.",
    )
    purge.add_argument("words", nargs="*", metavar="CONFIG URL", help="the YAML file; a URL")
    purge.add_argument("--key", action="append", default=[], metavar="KEY", help="a surrogate key")
    purge.add_argument("--all", action="store_true", help="everything")
    purge.add_argument("--soft", action="store_true", help="make objects stale, keep them")
    purge.add_argument("--config", metavar="FILE", help="another way to give CONFIG")
    purge.add_argument(
        "--admin", metavar="ADDRESS", help="the admin interface (default: 127.0.0.1:9180)"
    )
    purge.add_argument("--token", help="other users see it in the process list: prefer CONFIG")
    purge.add_argument("--service-id", metavar="ID", help="for keys and --all")
    purge.set_defaults(command=purge_cache, parser=purge)


def _add_access(command: argparse.ArgumentParser, *, has_file: bool) -> None:
    """How a command finds the running edge. `has_file`: CONFIG may stand without an option."""
    if has_file:
        command.add_argument("file", nargs="?", metavar="CONFIG", help="the file that edge runs")
    command.add_argument(
        "--config", metavar="FILE", help="the file that edge runs: it has the address and token"
    )
    command.add_argument(
        "--admin",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="the admin interface (default: 127.0.0.1:9180); again for each process of its own",
    )
    command.add_argument(
        "--token", help="others see it in the process list: prefer the file or EDGE_ADMIN_TOKEN"
    )


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser("status", help="what a running edge does: tiers, servers, cache")
    _add_access(status, has_file=True)
    how = status.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    how.add_argument("--json", action="store_true", help="as the admin interface answers it")
    status.add_argument(
        "--interval",
        metavar="S",
        type=_seconds,
        default=WATCH_S_DEFAULT,
        help="seconds that rates are of (default: %(default)g)",
    )
    status.set_defaults(command=show_status)


def _add_nodes(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, text, default_s in (
        ("drain", "take a node out of service, and wait until nothing runs there", DRAIN_S_DEFAULT),
        ("maint", "the same, without health checks meanwhile", DRAIN_S_DEFAULT),
        ("ready", "take a node into service, and wait until it is up", HEALTH_S_DEFAULT),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("node", metavar="NODE", help="its name in the file")
        _add_access(command, has_file=False)
        command.add_argument(
            "--timeout",
            metavar="S",
            type=_seconds,
            default=default_s,
            help="longest wait (default: %(default)g); then 3 is the exit status",
        )
        command.set_defaults(command=order_node, order=name)


def _add_rollout(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rollout = commands.add_parser(
        "rollout",
        help="run a command for each node while it is out of service, one node at a time",
        epilog="Each node is drained, the command runs, a health check passes, the node is ready"
        " again. At the first failure the rollout stops and that node stays drained.",
    )
    _add_access(rollout, has_file=False)
    rollout.add_argument(
        "--command",
        dest="script",
        required=True,
        metavar="COMMAND",
        help="for the shell; {node} becomes the node's name, which is in EDGE_NODE, too",
    )
    rollout.add_argument("--nodes", metavar="A,B", help="only these, in this order (default: all)")
    rollout.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=DRAIN_S_DEFAULT,
        help="longest wait for running requests of a node (default: %(default)g)",
    )
    rollout.add_argument(
        "--health-timeout",
        metavar="S",
        type=_seconds,
        default=HEALTH_S_DEFAULT,
        help="longest wait for a node's health after the command (default: %(default)g)",
    )
    rollout.set_defaults(command=roll_out)


def _add_node(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    node = commands.add_parser("node", help="add or remove a web node of a running edge")
    verbs = node.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = verbs.add_parser("add", help="a web node that the file does not name")
    add.add_argument("node", metavar="NAME")
    add.add_argument("--web", required=True, metavar="HOST:PORT", help="its web server")
    add.add_argument("--zone", default="a", help="its availability zone (default: %(default)s)")
    add.add_argument(
        "--weight", type=_whole_number(0, 256), default=1, metavar="N", help="its share (default 1)"
    )
    remove = verbs.add_parser("remove", help="drain a web node, then take it out of every tier")
    remove.add_argument("node", metavar="NAME")
    for verb, default_s in ((add, HEALTH_S_DEFAULT), (remove, DRAIN_S_DEFAULT)):
        _add_access(verb, has_file=False)
        verb.add_argument(
            "--timeout",
            metavar="S",
            type=_seconds,
            default=default_s,
            help="longest wait (default: %(default)g); then 3 is the exit status",
        )
    add.set_defaults(command=add_node)
    remove.set_defaults(command=remove_node)


def _add_reload(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    reload = commands.add_parser("reload", help="have a running edge read its file again")
    _add_access(reload, has_file=True)
    reload.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=RELOAD_S_DEFAULT,
        help="longest wait for the new processes (default: %(default)g)",
    )
    reload.set_defaults(command=reload_edge)


def _add_upgrade(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    upgrade = commands.add_parser(
        "upgrade",
        help="have a running edge replaced by the version that is installed now",
        epilog="It is the same process afterwards, on the same sockets, with the same cache, and"
        " running requests end. If the new version does not come up, the old one goes on.",
    )
    _add_access(upgrade, has_file=True)
    upgrade.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=UPGRADE_S_DEFAULT,
        help="longest wait for the new processes (default: %(default)g)",
    )
    upgrade.set_defaults(command=upgrade_edge)


def run_edge(options: argparse.Namespace) -> int:
    """`edge run`: the supervisor, until a signal ends it. The same command line is an upgrade's."""
    import os

    from edge.console import say
    from edge.errors import EdgeError
    from edge.orders import Orders, read_orders
    from edge.rehearsal import rehearse_if_asked
    from edge.start import supervise
    from edge.upgrade import Program

    def read(note: bytes) -> Orders:
        return read_orders(options.config, options.tier, options.workers, note)

    command = [sys.executable, "-m", "edge", "run", options.config]
    command += ["--tier", options.tier] if options.tier else []
    command += ["--workers", str(options.workers)] if options.workers else []
    try:
        status = rehearse_if_asked(os.environ, read)
        if status is not None:
            return status
        return supervise(read, Program(tuple(command)), os.environ)
    except EdgeError as error:  # before there was anything to run
        say(str(error))
        return 1


def check_config(options: argparse.Namespace) -> int:
    """`edge check`: 0, or 1 and one line per problem on stderr."""
    from edge.errors import ConfigError
    from edge.settings import load

    try:
        load(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.config}: good")
    return 0


def print_schema(_options: argparse.Namespace) -> int:
    """`edge schema`: for editors that complete and check YAML."""
    import json

    from edge.settings import schema

    print(json.dumps(schema(), indent=2))
    return 0


def purge_cache(options: argparse.Namespace) -> int:
    """`edge purge`: 0 when all of it was purged, else 1 and why not on stderr."""
    import os

    from edge.errors import ConfigError, EdgeError
    from edge.purge_command import Wish, find_access, purge

    config, url = _purge_words(options)
    wish = Wish(url, tuple(options.key), options.all, options.soft)
    try:
        access = find_access(
            config,
            admin=options.admin,
            token=options.token,
            service_id=options.service_id,
            environment=os.environ,
        )
        for line in purge(wish, access):
            print(line, flush=True)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except EdgeError as error:
        print(f"edge: {error}", file=sys.stderr)
        return 1
    return 0


def _purge_words(options: argparse.Namespace) -> tuple[str | None, str | None]:
    """CONFIG and URL, each None when not given. A single word is the URL, unless something else
    says what to purge. Ends the program when the command line asks for none or several things."""
    words: list[str] = options.words
    needs_url = not (options.key or options.all)
    if needs_url and len(words) == 1 and Path(words[0]).is_file():
        options.parser.error("say what to purge: a URL, --key or --all")
    if len(words) > (0 if options.config else 1) + needs_url:
        options.parser.error("purge one thing: a URL, or --key, or --all")
    if needs_url and not words:
        options.parser.error("say what to purge: a URL, --key or --all")
    if options.key and options.all:
        options.parser.error("--key and --all exclude each other")
    if options.all and options.soft:
        options.parser.error("--all is always hard, as at Fastly: leave --soft out")
    url = words.pop() if needs_url else None
    return options.config or (words[0] if words else None), url


def _operate(options: argparse.Namespace, work: Callable[[list[Remote]], None]) -> int:
    """What commands for a running edge have in common: whom they ask, and exit statuses."""
    import os

    from edge.admin_client import find_remotes
    from edge.errors import ConfigError, EdgeError
    from edge.operate import WaitedTooLongError

    config = options.config or getattr(options, "file", None)
    try:
        work(find_remotes(config, options.admin, options.token, os.environ))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except EdgeError as error:
        print(f"edge: {error}", file=sys.stderr)
        return EXIT_LATE if isinstance(error, WaitedTooLongError) else 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def show_status(options: argparse.Namespace) -> int:
    """`edge status`: one table, or one after the other, or JSON."""
    import json

    from edge.status_command import watch

    def work(remotes: list[Remote]) -> None:
        if options.json:
            for remote in remotes:
                print(json.dumps(remote.ask("GET", "/status"), indent=2))
            return
        for text in watch(remotes, options.interval, is_screen=sys.stdout.isatty()):
            print(text, flush=True)
            if not options.watch:
                return

    status = _operate(options, work)
    return 0 if options.watch and status == EXIT_INTERRUPTED else status


def order_node(options: argparse.Namespace) -> int:
    """`edge drain | maint | ready`: 0 once it is so, 3 when it was ordered and takes too long."""
    from edge.operate import Operator

    def work(remotes: list[Remote]) -> None:
        operator = Operator(remotes)
        orders = {"drain": operator.drain, "maint": operator.maint, "ready": operator.ready}
        for line in orders[options.order](options.node, options.timeout):
            print(line, flush=True)

    return _operate(options, work)


def add_node(options: argparse.Namespace) -> int:
    """`edge node add`: 0 once every tier has it up."""
    from edge.node_command import add

    fields = {
        "name": options.node,
        "web": options.web,
        "zone": options.zone,
        "weight": options.weight,
    }

    def work(remotes: list[Remote]) -> None:
        for line in add(remotes, fields, options.timeout):
            print(line, flush=True)

    return _operate(options, work)


def remove_node(options: argparse.Namespace) -> int:
    """`edge node remove`: 0 once nothing runs there and no tier has it any more."""
    from edge.node_command import remove

    def work(remotes: list[Remote]) -> None:
        for line in remove(remotes, options.node, options.timeout):
            print(line, flush=True)

    return _operate(options, work)


def roll_out(options: argparse.Namespace) -> int:
    """`edge rollout`: 0 when every node is through, else 1 and which is not."""
    from edge.operate import Operator, run_script

    nodes = None if options.nodes is None else [name for name in options.nodes.split(",") if name]

    def work(remotes: list[Remote]) -> None:
        for line in Operator(remotes).rollout(
            nodes,
            lambda node: run_script(options.script, node),
            drain_s_max=options.timeout,
            health_s_max=options.health_timeout,
        ):
            print(line, flush=True)

    return _operate(options, work)


def reload_edge(options: argparse.Namespace) -> int:
    """`edge reload`: 0 once new processes serve."""
    from edge.reload_command import reload
    from edge.settings import load

    def work(remotes: list[Remote]) -> None:
        config = options.config or options.file
        if config is not None:
            load(config)  # what is wrong with it is said here, and not in edge's log only
        for line in reload(remotes, options.timeout):
            print(line, flush=True)

    return _operate(options, work)


def upgrade_edge(options: argparse.Namespace) -> int:
    """`edge upgrade`: 0 once the new version serves, 1 when it does not come up."""
    from edge.settings import load
    from edge.upgrade_command import upgrade

    def work(remotes: list[Remote]) -> None:
        config = options.config or options.file
        if config is not None:
            load(config)  # as for a reload
        for line in upgrade(remotes, options.timeout):
            print(line, flush=True)

    return _operate(options, work)


def run_demo(options: argparse.Namespace) -> int:
    """`edge demo`: the chain with nodes of its own."""
    from edge.demo.run import main as demo

    return demo(options.seconds)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= WAIT_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to a day")
    return value


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse
