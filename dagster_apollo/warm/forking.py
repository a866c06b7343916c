"""Forks that are safe by construction: who may fork, what a fork gives up first, and how it ends.

Linux only in what it asserts; knows nothing of Dagster, dbt or tenants.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path

import psutil

from dagster_apollo.errors import HostError, Problem

_TASKS, _DESCRIPTORS = Path("/proc/self/task"), Path("/proc/self/fd")


def require_forkable() -> None:
    """Refuse to fork where a thread would be cut off in the middle of what it does, or a connection shared.

    Raises:
        HostError: the process has several threads, or an open connection to a server.
    """
    tasks = len(list(_TASKS.iterdir())) if _TASKS.is_dir() else threading.active_count()
    problems = []
    if tasks > 1:
        known = ", ".join(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
        told = f"it has {tasks} threads ({known or 'none of Python'})"
        remedy = "The tenant's Python, or a library, starts one when it is loaded: start it in a step."
        problems.append(Problem("the warm process", f"cannot be forked: {told}", remedy))
    if peers := _peers():
        told = f"it has connections to {', '.join(peers)}"
        remedy = "The tenant's Python, or a library, connects when it is loaded: connect in a step."
        problems.append(Problem("the warm process", f"cannot be forked: {told}", remedy))
    if problems:
        raise HostError(problems)


def _peers() -> list[str]:
    """The servers that this process has connections to."""
    found = []
    for entry in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
        with contextlib.suppress(OSError):
            if not os.readlink(entry).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as held:
                if held.family in (socket.AF_INET, socket.AF_INET6):
                    found.append("{}:{}".format(*held.getpeername()[:2]))
    return found


def end_default_database() -> None:
    """Close DuckDB's own default connection, which `import duckdb` opens, with a thread for each core but one."""
    if duckdb := sys.modules.get("duckdb"):
        duckdb.close()


def fork(child: Callable[[], int]) -> int:
    """Fork, and have the child call a function and end with what it returns.

    The child is what a new Python process would be: default signals, none of this process's exit handlers. It ends as
    a Python process does, with threads joined and its own exit handlers called.

    Returns:
        The child's process id; in the child it does not return.

    Raises:
        HostError: see `require_forkable`.
    """
    require_forkable()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what is buffered would be printed by both
    pid = os.fork()
    if pid:
        return pid
    code = 70  # EX_SOFTWARE
    try:
        _begin()
        code = child()
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            _end()
        os._exit(code)


def others_in_group(leader: int) -> bool:
    """Whether processes other than its leader live in a process group."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):  # it is gone
            is_other = pid != leader and os.getpgid(pid) == leader
            if is_other and psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return True
    return False


def _begin() -> None:
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    # They remove the parent's temporary folders.
    atexit._clear()
    for kept in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        kept.atexit = False


def _end() -> None:
    threading._shutdown()  # type: ignore[attr-defined]
    weakref.finalize._exitfunc()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
