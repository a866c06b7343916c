"""A user, a port and a folder of its own for every tenant, and how a process of that user is started and ended.

Root with SETUID and SETGID and nothing else can do all of it: a folder becomes a group's by being made as that group,
and a process of another user is signalled by a child that has become that user. Where the code host is not root,
tenants share its user, and their folders are theirs by name alone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_apollo.errors import HostError, Problem

# Above the users of any distribution, below 65536: all that a user namespace usually has.
_FIRST_ID, _IDS = 20_000, 40_000
# Above the directory's own port. Spread out, so that a tenant that is added moves nobody: a webserver that still knows
# the last version's ports would find another tenant behind one of them.
_PORTS = 5_900
# Sticky: what the code host makes in a tenant's folder the tenant can neither rename nor remove.
_MODE = 0o1770
# A tenant may stop the shell that is to signal its processes: nobody waits longer for it.
_SIGNAL_SECONDS = 2.0


@dataclass(frozen=True)
class Cell:
    """What one tenant has for itself.

    Attributes:
        name: the tenant.
        user: the id of its user and group; None where the code host is not root.
        ports: its gRPC servers', by code location: one, unless it has several.
        folder: all that it may write.
    """

    name: str
    user: int | None
    ports: Mapping[str, int]
    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What `subprocess` is told of the user."""
        return {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": ()}


def assign(
    locations: Mapping[str, Iterable[str]],
    state_dir: Path,
    first_port: int,
    *,
    as_root: bool,
    is_free: Callable[[int], bool],
) -> list[Cell]:
    """A cell for each tenant, the same from start to start whoever else is there.

    Two names that meet in one number are told apart by their order, so that of such a pair one may move.

    Args:
        locations: of each tenant, the names of its code locations; they share its user and folder.
        state_dir: what this machine keeps.
        first_port: the lowest port to use.
        as_root: whether each gets a user.
        is_free: whether a port can be listened on.
    """
    users: set[int] = set()
    taken: set[int] = set()
    span = min(_PORTS, 65_536 - first_port)
    cells = []
    for name in sorted(locations):
        user = _pick(name, _FIRST_ID, _IDS, lambda number: number not in users)
        users.add(user)
        ports = {}
        for location in locations[name]:
            port = _pick(location, first_port, span, lambda number: number not in taken and is_free(number))
            taken.add(port)
            ports[location] = port
        cells.append(Cell(name, user if as_root else None, ports, state_dir / "tenants" / name))
    return cells


def _pick(name: str, first: int, span: int, fits: Callable[[int], bool]) -> int:
    start = zlib.crc32(name.encode())
    for step in range(span):
        number = first + (start + step) % span
        if fits(number):
            return number
    raise HostError([Problem(name, f"none of {span} numbers from {first} is free", "Serve fewer tenants.")])


def can_listen(host: str) -> Callable[[int], bool]:
    """Whether a port of this machine is free now."""

    def free(port: int) -> bool:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
            return True

    return free


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


def forbid_core_dumps() -> None:
    """Let neither this process nor any that it starts leave its memory, and so its secrets, in a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def start(
    cell: Cell, command: Sequence[str], environ: Mapping[str, str], pass_fds: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start a tenant's process: its user, its environment, a session of its own, nothing inherited but the log."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        env=dict(environ),
        cwd="/",
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        umask=0o077,
        **cell.identity,
    )
    return process


def send(cell: Cell, session: int, number: signal.Signals) -> None:
    """Signal all that a tenant runs: everything of its user, or the session where it has none of its own."""
    if cell.user is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(session, number)
        return
    # Root without the capability KILL may not signal another's process; that user may signal all of its own.
    words = ["/bin/sh", "-c", 'kill -s "$0" -- -1', number.name.removeprefix("SIG")]
    shell = subprocess.Popen(words, stderr=subprocess.DEVNULL, cwd="/", env={}, **cell.identity)
    # Not `subprocess.run`: when the time is over that kills the shell, which is not permitted, and waits on.
    with contextlib.suppress(subprocess.TimeoutExpired):
        shell.wait(_SIGNAL_SECONDS)
