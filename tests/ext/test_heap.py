"""ext.heap: the first of some items, by key and then by the time of its placing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ext.heap import HeapForTest

ITEMS = 12


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 4)), max_size=80))
def test_against_a_sorted_list(changes: list[tuple[int, int]]) -> None:
    """An item that is not there is added; one that is, is moved, or removed by the key 4."""
    heap, model = HeapForTest(ITEMS), dict[int, tuple[int, int]]()
    for time, (item, key) in enumerate(changes):
        if item not in model:
            heap.add(item, key)
            model[item] = key, time
        elif key == 4:
            heap.remove(item)
            del model[item]
        else:
            heap.move(item, key)
            model[item] = key, time
        assert heap.first() == (min(model, key=model.__getitem__) if model else -1)
    while model:
        first = min(model, key=model.__getitem__)
        assert heap.first() == first
        heap.remove(first)
        del model[first]
    assert heap.first() == -1
