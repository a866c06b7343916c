"""Which containers were left behind by a process that was killed: by a locked file for each that somebody waits for.

The kernel gives up a lock when its process is gone, by SIGKILL too and whatever its process number means to others. So
nothing is ever taken for abandoned that another process, machine or checkout has started: only what has a file here.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SUFFIX = ".lock"


@dataclass
class Claim:
    """A container's name that is held.

    Attributes:
        removed: whether the container is gone; else its file stays, and the next start removes what is left.
    """

    removed: bool = False


@contextmanager
def claimed(locks_dir: Path, name: str) -> Iterator[Claim]:
    """Hold a container's name for as long as it is waited for."""
    locks_dir.mkdir(parents=True, exist_ok=True)
    file, unlocked = locks_dir / f"{name}{_SUFFIX}", locks_dir / f"{name}.new"
    with unlocked.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        unlocked.rename(file)  # never there without its lock
        claim = Claim()
        try:
            yield claim
        finally:
            if claim.removed:
                file.unlink(missing_ok=True)


def remove_abandoned(locks_dir: Path, remove: Callable[[str], None]) -> None:
    """Call `remove` with the name of every container that nobody waits for any more, and forget it."""
    for file in sorted(locks_dir.glob(f"*{_SUFFIX}")):
        with suppress(FileNotFoundError), file.open("r") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if os.fstat(handle.fileno()).st_nlink:  # else another process has just done it
                remove(file.name.removesuffix(_SUFFIX))
                file.unlink(missing_ok=True)
