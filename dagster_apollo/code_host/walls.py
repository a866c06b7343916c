"""A user and a folder of its own for every tenant, and how a process of that user is started and ended.

Root with SETUID and SETGID and nothing else can do all of it: a folder becomes a group's by being made as that group,
and a process of another user is signalled by a child that has become that user. Where the code host is not root,
tenants share its user, and their folders are theirs by name alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.role import say

# Above the users of any distribution, below 65536: all that a user namespace usually has.
_FIRST_ID, _IDS = 20_000, 40_000
# Sticky: what the code host makes in a tenant's folder the tenant can neither rename nor remove.
_MODE = 0o1770
_PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 4, 15, 36  # prctl(2)
# A tenant may stop the shell that is to signal its processes: nobody waits longer for it.
_SIGNAL_SECONDS = 2.0
# From one look for what is to be killed to the next: until then the killed are gone.
_ROUND_SECONDS = 0.05


@dataclass(frozen=True)
class Cell:
    """What one tenant has for itself.

    Attributes:
        name: the tenant.
        user: the id of its user and group; None where the code host is not root.
        folder: all that it may write.
    """

    name: str
    user: int | None
    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What `subprocess` is told of the user."""
        return {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": ()}


def assign(names: Iterable[str], state_dir: Path, *, as_root: bool) -> list[Cell]:
    """A cell for each tenant, the same from start to start whoever else is there.

    Two names that meet in one number are told apart by their order, so that of such a pair one may move.

    Args:
        names: the tenants.
        state_dir: what this machine keeps.
        as_root: whether each gets a user.
    """
    users: set[int] = set()
    cells = []
    for name in sorted(names):
        user = _pick(name, users)
        users.add(user)
        cells.append(Cell(name, user if as_root else None, state_dir / "tenants" / name))
    return cells


def _pick(name: str, taken: set[int]) -> int:
    start = zlib.crc32(name.encode())
    for step in range(_IDS):
        number = _FIRST_ID + (start + step) % _IDS
        if number not in taken:
            return number
    raise HostError([Problem(name, f"none of {_IDS} users from {_FIRST_ID} is free", "Serve fewer tenants.")])


def can_be_run_by_others(program: Path) -> bool:
    """Whether any user may run a program: an interpreter in root's own home is closed to them."""
    found = program.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (found, *found.parents))


def make_folders(cells: Sequence[Cell], state_dir: Path) -> dict[str, Problem]:
    """Make every tenant's folder before any tenant's process runs, so that none is taken by another.

    Returns:
        By tenant, why its folder cannot be used.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    everyones = state_dir / "tenants"
    everyones.mkdir(exist_ok=True)
    walled = any(cell.user is not None for cell in cells)
    if walled:  # tenants pass through, and see nothing of each other
        for folder in (state_dir, everyones):
            if folder.stat().st_uid == os.geteuid():
                folder.chmod(0o711)
    return {cell.name: problem for cell in cells if (problem := _make_folder(cell))}


def _make_folder(cell: Cell) -> Problem | None:
    remedy = "Move the folder away; what is in it and still needed must belong to the tenant's user."
    try:
        if cell.user is None:
            cell.folder.mkdir(mode=0o700, exist_ok=True)
            return None
        # What is made belongs to the group that makes it: giving a file away would take another capability.
        os.setegid(cell.user)
        try:
            if not cell.folder.exists():
                cell.folder.mkdir(mode=0o770)
                cell.folder.chmod(_MODE)  # whatever the umask is
        finally:
            os.setegid(0)
        found = cell.folder.lstat()
    except OSError as error:
        return Problem(str(cell.folder), f"cannot be made: {error.strerror}", "Check APOLLO_STATE_DIR.")
    if not stat.S_ISDIR(found.st_mode) or (found.st_uid, found.st_gid) != (os.geteuid(), cell.user):
        return Problem(str(cell.folder), "belongs to somebody else than this tenant", remedy)
    if stat.S_IMODE(found.st_mode) != _MODE:
        cell.folder.chmod(_MODE)
    return None


def make_shared(cell: Cell, shared: Path) -> Problem | None:
    """A folder in a tenant's own that the container engine mounts: the tenant writes in it and cannot exchange it.

    What the tenant had made there itself, before it had containers, is moved into it.

    Returns:
        Why it cannot be had.
    """
    if cell.user is None:
        shared.mkdir(mode=0o700, exist_ok=True)
        return None
    before = shared.with_name(f"{shared.name}.before")
    try:
        if shared.is_symlink() or (shared.exists() and shared.lstat().st_uid != os.geteuid()):
            shared.rename(before)
        if not shared.exists():
            os.setegid(cell.user)
            try:
                shared.mkdir(mode=0o770)
            finally:
                os.setegid(0)
            shared.chmod(0o770)
    except OSError as error:
        return Problem(str(shared), f"cannot be made: {error.strerror}", "Move it away.")
    if before.is_dir() and not before.is_symlink():
        words = ["/bin/sh", "-c", 'mv -- "$0"/* "$1" && rmdir "$0"', str(before), str(shared)]
        moved = subprocess.run(words, stderr=subprocess.DEVNULL, cwd="/", env={}, check=False, **cell.identity)
        if moved.returncode:
            return Problem(str(before), "cannot be moved by the tenant's user", f"Move what is in it to {shared}.")
    return None


def make_snapshots_folder(state_dir: Path, location: str, front_group: int | None) -> Path:
    """The folder with a location's snapshots, which the front may read and no tenant.

    Raises:
        HostError: it cannot be made.
    """
    folder = state_dir / "snapshots" / location
    try:
        with as_group(front_group):
            for made in (folder.parent, folder):
                made.mkdir(mode=0o750, exist_ok=True)
        for left in (*folder.glob(".*"), *folder.glob("*.passing.zip")):
            left.unlink()  # of a start that was broken off, or that may have been wrong
    except OSError as error:
        remedy = "Check APOLLO_STATE_DIR."
        raise HostError([Problem(str(folder), f"cannot be made: {error.strerror}", remedy)]) from None
    return folder


def forbid_core_dumps() -> None:
    """Let neither this process nor any that it starts leave its memory, and so its secrets, in a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forbid_looking(name: str) -> None:
    """Let no process of the same user read this one's memory and environment; and give it a name for `ps`."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def take_orphans() -> None:
    """Have processes whose parent is gone become this one's children, so that their end is heard of."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(
    cell: Cell, command: Sequence[str], environ: Mapping[str, str], pass_fds: Sequence[int], umask: int = 0o077
) -> subprocess.Popen[bytes]:
    """Start a tenant's process: its user, its environment, a session of its own, nothing inherited but the log."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        env=dict(environ),
        cwd="/",
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        umask=umask,
        **cell.identity,
    )
    return process


def signal_one(cell: Cell, pid: int, number: signal.Signals) -> None:
    """Signal one process of a tenant's, or by a number below zero its group."""
    if cell.user is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
        return
    _signal_as(cell, [pid], number)


def _signal_as(cell: Cell, pids: Sequence[int], number: signal.Signals) -> None:
    # Root without the capability KILL may not signal another's process; that user may signal all of its own.
    words = ["/bin/sh", "-c", 'kill -s "$0" -- "$@"', number.name.removeprefix("SIG"), *map(str, pids)]
    try:
        shell = subprocess.Popen(words, stderr=subprocess.DEVNULL, cwd="/", env={}, **cell.identity)
    except OSError as error:  # no more processes, or memory: what is signalled is looked at again, or ends by itself
        say(f"{cell.name}: its processes cannot be signalled: {error.strerror}")
        return
    # Not `subprocess.run`: when the time is over that kills the shell, which is not permitted, and waits on.
    with contextlib.suppress(subprocess.TimeoutExpired):
        shell.wait(_SIGNAL_SECONDS)


def kill_all(cells: Iterable[Cell]) -> None:
    """Kill what tenants' users still run below this process, which orphans of theirs are left to.

    Not all that such a user runs: another code host of this machine may have given the same user to its tenant of that
    name. Where tenants have no user of their own nothing is done. What comes to be faster than it is killed is given up
    after two seconds.
    """
    import psutil  # at the very end alone, not in a process that is to stay small

    by_user = {cell.user: cell for cell in cells if cell.user is not None}
    end = time.monotonic() + _SIGNAL_SECONDS
    while by_user and time.monotonic() < end:
        left: dict[int, list[int]] = {}
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                user = process.uids().real
                if user in by_user and process.status() != psutil.STATUS_ZOMBIE:
                    left.setdefault(user, []).append(process.pid)
        if not left:
            return
        for user, pids in left.items():
            _signal_as(by_user[user], pids, signal.SIGKILL)
        time.sleep(_ROUND_SECONDS)


def make_socket_folder(state_dir: Path, cell: Cell, location: str) -> Path:
    """A folder for the socket of a tenant's own server: its group may enter, which the front is in too.

    Raises:
        HostError: it cannot be made.
    """
    folder = state_dir / "sockets" / location
    try:
        folder.parent.mkdir(exist_ok=True)
        folder.parent.chmod(0o711)
        if not folder.exists():
            with as_group(cell.user):
                folder.mkdir(mode=0o770)
            folder.chmod(0o770)
        for left in folder.glob("*.sock"):
            left.unlink()
    except OSError as error:
        remedy = "Check APOLLO_STATE_DIR."
        raise HostError([Problem(str(folder), f"cannot be made: {error.strerror}", remedy)]) from None
    return folder


@contextlib.contextmanager
def as_group(group: int | None) -> Iterator[None]:
    """Make what is made meanwhile a group's: root without CHOWN cannot give it away afterwards."""
    if group is None:
        yield
        return
    os.setegid(group)
    try:
        yield
    finally:
        os.setegid(0)
