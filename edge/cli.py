"""The command line: `edge run | check | schema | purge | demo`.

Each command imports what it needs when it runs, so `edge check` in an editor or a pipeline does
not pay for the data path. Exit status: 0 good, 1 the file or the run is at fault, 2 the command
line is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edge import __version__

WORKERS_MAX = 128
DEMO_SECONDS_MAX = 7 * 24 * 3600


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


def run_edge(options: argparse.Namespace) -> int:
    """`edge run`: the supervisor, until a signal ends it."""
    import asyncio

    from edge.console import say
    from edge.errors import EdgeError
    from edge.orders import read_orders
    from edge.supervisor import Supervisor, raise_descriptor_limit

    raise_descriptor_limit()

    async def supervise() -> int:
        return await Supervisor(
            lambda: read_orders(options.config, options.tier, options.workers)
        ).run()

    try:
        return asyncio.run(supervise())
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


def run_demo(options: argparse.Namespace) -> int:
    """`edge demo`: the chain with nodes of its own."""
    from edge.demo.run import main as demo

    return demo(options.seconds)


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse
