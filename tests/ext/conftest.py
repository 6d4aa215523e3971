"""Fixtures of the unit tests of ext: an arena that is gone afterwards, and its memory."""

import os
from collections.abc import Iterator

import pytest

from ext.arena import Arena
from tests.ext.arena_memory import ArenaMemory


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena.create()
    yield made
    os.close(made.fd)


@pytest.fixture
def memory(arena: Arena) -> Iterator[ArenaMemory]:
    made = ArenaMemory(arena)
    yield made
    made.close()
