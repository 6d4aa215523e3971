"""ext.queue: whose turn is next, compared with a sorted list."""

import random

from ext.queue import (
    Queue,
    Waiter,
    put_for_test,
    remove_for_test,
    take_for_test,
    waiter_for_test,
)


def enter(queue: Queue, now: int, priority_class: int = 0, offset: int = 0) -> Waiter:
    waiter = waiter_for_test(priority_class, offset)
    put_for_test(queue, waiter, now)
    return waiter


def order(queue: Queue) -> list[Waiter]:
    return [waiter for _ in range(len(queue)) if (waiter := take_for_test(queue))]


def test_first_come_first_served() -> None:
    queue = Queue()
    waiters = [enter(queue, now) for now in (5, 5, 5, 6, 7)]
    assert order(queue) == waiters
    assert take_for_test(queue) is None


def test_the_lower_class_goes_first() -> None:
    queue = Queue()
    late = enter(queue, 1, 10)
    middle = enter(queue, 2)
    first = enter(queue, 3, -1)
    assert order(queue) == [first, middle, late]


def test_an_offset_moves_in_time() -> None:
    queue = Queue()
    back = enter(queue, 1000, offset=500)
    plain = enter(queue, 1200)
    forth = enter(queue, 1400, offset=-500)
    assert order(queue) == [forth, plain, back]


def test_class_counts_before_offset() -> None:
    queue = Queue()
    high = enter(queue, 1, 1, -500_000)
    low = enter(queue, 1, 0, 500_000)
    assert order(queue) == [low, high]


def test_who_comes_again_has_the_old_place() -> None:
    queue = Queue()
    first, second = enter(queue, 1), enter(queue, 2)
    assert take_for_test(queue) is first
    put_for_test(queue, first, 99, again=True)
    assert order(queue) == [first, second]


def test_any_may_leave() -> None:
    queue = Queue()
    waiters = [enter(queue, now) for now in range(5)]
    remove_for_test(queue, waiters[2])
    remove_for_test(queue, waiters[0])
    assert order(queue) == [waiters[1], waiters[3], waiters[4]]


def test_against_a_sorted_list() -> None:
    chance = random.Random(7)
    queue, model = Queue(), []
    for step in range(5000):
        if model and chance.random() < 0.45:
            model.sort(key=lambda row: row[0])
            if chance.random() < 0.5:
                assert take_for_test(queue) is model.pop(0)[1]
            else:
                remove_for_test(queue, model.pop(chance.randrange(len(model)))[1])
        else:
            group, offset = chance.randint(-3, 3), chance.randint(-50, 50)
            now = step // 3
            model.append(((group, now + offset, step), enter(queue, now, group, offset)))
        assert len(queue) == len(model)
    assert order(queue) == [waiter for _, waiter in sorted(model, key=lambda row: row[0])]
