"""Threads that work ahead of their reader by a bounded distance.

Belongs here: how much is in the air at once. Does not belong here: what is computed.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def bounded_map(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    """Results in the order of the items, at most ``ahead`` of them begun and not yet taken.

    ``Executor.map`` submits everything at once, so that the results of a large corpus would pile up
    in memory (its ``buffersize`` came with Python 3.14). What is begun when the reader stops, or an
    item raises, is cancelled.
    """
    source = iter(items)
    waiting = deque(pool.submit(function, item) for item in itertools.islice(source, ahead))
    try:
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(source, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()
