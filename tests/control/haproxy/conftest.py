"""The commands over a world whose counters have known values."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from edge.control.haproxy.commands import Client, Commands, Level
from edge.control.haproxy.runtime import make_commands
from tests.control.conftest import World


@dataclass(frozen=True)
class Bench:
    world: World
    commands: Commands

    def say(self, line: str, level: Level = Level.ADMIN) -> str:
        return self.commands.answer(Client(level), line)


@pytest.fixture
def bench(world: Callable[[str], World]) -> Callable[[str], Bench]:
    def build(text: str) -> Bench:
        made = world(text)
        commands = make_commands(made.view, made.plan, made.arena, made.job)
        assert commands is not None
        return Bench(made, commands)

    return build
