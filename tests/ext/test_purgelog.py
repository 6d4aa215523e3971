"""ext.purgelog: epochs of purges, by key and of everything; trims; a full table."""

import random

import pytest

from ext.purgelog import PurgeLogForTest

PURGE_KEYS_MAX, PURGE_SLOTS = 32_768, 65_536  # ext/purgelog.pxd


def test_nothing_is_purged_at_first() -> None:
    log = PurgeLogForTest()
    assert log.since(log.epoch, [1, 2]) is None
    assert log.since(0, [1, 2]) is None


def test_a_hard_purge_concerns_what_is_older() -> None:
    log = PurgeLogForTest()
    before = log.epoch
    assert log.purge(7)
    assert log.epoch == before + 1
    assert log.since(before, [7]) == "hard"
    assert log.since(before, [8]) is None
    assert log.since(before, [8, 9, 7]) == "hard"
    assert log.since(log.epoch, [7]) is None


def test_a_soft_purge_tells_when() -> None:
    log = PurgeLogForTest()
    before = log.epoch
    log.purge(7, soft=True, now_ms=1000)
    log.purge(8, soft=True, now_ms=2000)
    assert log.since(before, [7]) == 1000
    assert log.since(before, [8]) == 2000
    assert log.since(before, [8, 7]) == 1000  # stale since the earlier one
    assert log.since(before + 1, [7]) is None
    assert log.since(before + 1, [8, 7]) == 2000


def test_hard_wins_over_soft_whichever_comes_first() -> None:
    log = PurgeLogForTest()
    before = log.epoch
    log.purge(7)
    log.purge(7, soft=True, now_ms=1000)
    assert log.since(before, [7]) == "hard"
    assert log.since(before + 1, [7]) == 1000
    log.purge(7)
    assert log.since(before + 1, [7]) == "hard"
    assert log.since(log.epoch, [7]) is None


def test_everything_can_be_purged() -> None:
    log = PurgeLogForTest()
    before = log.epoch
    log.purge_everything()
    assert log.since(before, []) == "hard"
    assert log.since(log.epoch, []) is None
    log.purge(7)
    assert log.since(log.epoch - 1, []) is None


def test_a_trim_forgets_what_is_older() -> None:
    log = PurgeLogForTest()
    epochs = []
    for key in (1, 2, 3):
        log.purge(key)
        epochs.append(log.epoch)
    log.trim(epochs[1])
    assert log.used == 1
    assert log.since(epochs[1], [1, 2, 3]) == "hard"
    assert log.since(epochs[1], [1, 2]) is None
    log.purge(1)
    log.trim(epochs[2])
    assert log.used == 1
    assert log.since(epochs[2], [1]) == "hard"
    assert log.since(epochs[2], [2, 3]) is None


def test_a_full_table_refuses_new_keys_and_takes_known_ones() -> None:
    log = PurgeLogForTest()
    for key in range(1, PURGE_KEYS_MAX + 1):
        assert log.purge(key)
    epoch = log.epoch
    assert not log.purge(10**9)
    assert log.purge(17)
    assert log.since(epoch, [17]) == "hard"
    assert log.since(0, [10**9]) is None
    log.trim(epoch)
    assert log.used == 1
    assert log.purge(10**9)
    assert log.since(epoch, [17]) == "hard"


def test_keys_that_fall_on_one_slot_are_told_apart() -> None:
    log = PurgeLogForTest()
    keys = [5 + i * PURGE_SLOTS for i in range(200)]
    before = log.epoch
    for key in keys[::2]:
        log.purge(key)
    assert [log.since(before, [key]) for key in keys] == ["hard", None] * 100


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_as_a_list_of_purges(seed: int) -> None:
    """Random purges, trims and questions against a list that forgets nothing."""
    chance = random.Random(seed)
    log = PurgeLogForTest()
    done: list[tuple[int, int | None, int | None]] = []  # epoch, key or everything, soft since
    floor = 0
    for now_ms in range(1, 1500):
        what = chance.random()
        key = chance.randrange(1, 40) * 65_535
        if what < 0.02:
            log.purge_everything()
            done.append((log.epoch, None, None))
        elif what < 0.04:
            floor = chance.randrange(floor, log.epoch + 1)
            log.trim(floor)
        else:
            soft = chance.random() < 0.5
            log.purge(key, soft=soft, now_ms=now_ms)
            done.append((log.epoch, key, now_ms if soft else None))
        epoch = chance.randrange(floor, log.epoch + 1)
        keys = [chance.randrange(1, 45) * 65_535 for _ in range(chance.randrange(4))]
        later = [(k, soft) for e, k, soft in done if e > epoch and (k is None or k in keys)]
        last = {k: soft for k, soft in later if soft is not None}
        expected: int | str | None = min(last.values(), default=None)
        if any(soft is None for _, soft in later):
            expected = "hard"
        assert log.since(epoch, keys) == expected
