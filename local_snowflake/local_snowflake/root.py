"""The folder that an account is kept in: its layout, and the lock that gives it to one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class RootInUseError(RuntimeError):
    """Another process works on the folder."""


class PortInUseError(RuntimeError):
    """The address can't be bound."""


def account_file(root: Path) -> Path:
    return root / "account.json"


def data_folder(root: Path) -> Path:
    """The DuckDB files, apart from the rest: SQL can read files of this folder and of no other."""
    return root / "data"


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the folder, making it if it is not there. The operating system frees it when the process ends.

    Raises:
        RootInUseError: another process holds it; the message has its id.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise RootInUseError(
                f"{root} is in use by the process {holder}. Stop that server first, or give another --root."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
