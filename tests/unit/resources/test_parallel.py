"""Work ahead of the reader is bounded, ordered, and stops with it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.parallel import bounded_map


@given(st.lists(st.integers()), st.integers(1, 9))
def test_results_come_in_the_order_of_the_items(items, ahead):
    with ThreadPoolExecutor(3) as pool:
        assert list(bounded_map(pool, lambda item: item * 2, items, ahead)) == [
            item * 2 for item in items
        ]


def test_no_more_than_the_bound_is_taken_ahead_of_the_reader():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        results = bounded_map(pool, lambda item: item, items(), 5)
        assert next(results) == 0
        assert len(taken) == 6
        results.close()


def test_what_an_item_raises_reaches_the_reader_and_cancels_what_waits():
    release = threading.Event()
    begun = []

    def work(item):
        begun.append(item)
        if item == 0:
            raise ValueError("broken")
        release.wait(10)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="broken"):
            list(bounded_map(pool, work, range(10), 10))
        release.set()
    assert len(begun) <= 2
