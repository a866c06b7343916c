"""Python's garbage collector while a role starts: what is imported stays, and need not be looked at again and again.

Without that it takes a good part of the processor time of a start, and of every full collection afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing while much is made that stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """Collect nothing meanwhile, and leave alone afterwards what was imported."""
    with paused():
        yield
    gc.collect()
    gc.freeze()
