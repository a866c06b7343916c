"""Real parts that a test needs beside the virtual environment, such as a browser: what is raised when one is missing.

Whether a missing part skips a test or fails it is decided in `tests/conftest.py`, for all tests alike.
"""

from __future__ import annotations

import shutil


class MissingPart(RuntimeError):
    """A real part is not on this machine; the message names it and what brings it."""


def executable(*names: str, remedy: str) -> str:
    """The first of these programs that is on the PATH.

    Raises:
        MissingPart: when none is.
    """
    for name in names:
        if found := shutil.which(name):
            return found
    raise MissingPart(f"no {names[0]} on the PATH: {remedy}")
