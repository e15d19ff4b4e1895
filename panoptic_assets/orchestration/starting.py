"""Starting a process: how often Python looks for cycles while modules are loaded.

Belongs here: what every start pays, of a command as of a code server or a run's worker. Does not
belong here: what is loaded.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 2, 1)
"""Among all objects about as often as Python looks by itself, after some 100,000 new ones; but
among the newest after 50,000 instead of 700 (from Python 3.13 on, 2,000)."""


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Look for cycles less often, and afterwards as before.

    What a command makes first are modules, which stay: looking at them took 5 to 8 % of a listing's
    CPU seconds.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def no_collections() -> Iterator[None]:
    """Do not look for cycles while nothing but modules is made, and afterwards as before.

    Looking at them took 10 % of the CPU seconds of loading the definitions.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
