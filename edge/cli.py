"""The command line: `edge run | check | schema | demo`.

Each command imports what it needs when it runs, so `edge check` in an editor or a pipeline does
not pay for the data path. Exit status: 0 good, 1 the file or the run is at fault, 2 the command
line is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

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

    demo = commands.add_parser("demo", help="run three shop nodes and the whole chain before them")
    demo.add_argument(
        "--seconds",
        metavar="N",
        type=_whole_number(1, DEMO_SECONDS_MAX),
        help="stop after this time (default: at Ctrl-C)",
    )
    demo.set_defaults(command=run_demo)
    return parser


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
