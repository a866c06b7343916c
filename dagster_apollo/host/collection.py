"""Python's garbage collector while a role starts: what is imported and loaded then stays, and need not be looked at.

Without that it takes a good part of the processor time of a start, and of every full collection afterwards.
"""

from __future__ import annotations

import gc


def pause() -> None:
    """Collect nothing from now on: the role imports and loads."""
    gc.disable()


def resume() -> None:
    """Collect again, but for what is there by now."""
    gc.freeze()
    gc.enable()
