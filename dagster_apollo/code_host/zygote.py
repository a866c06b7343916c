"""The process that has everything imported and forks tenants' processes: `python -m …code_host.zygote FD ADAPTER…`.

When it forks it has one thread, no connection, no tenant's code and nobody's secrets: a fork becomes the tenant's user
first and is told its environment afterwards, over a line of its own. What the fork then does is `preparing.py`,
`location_process.py` or `accounting.py`; who asks is the first process (`zygote_process.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import math
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from dagster_apollo.code_host import preparing
from dagster_apollo.code_host.lines import Line, LineClosed, Message
from dagster_apollo.code_host.snapshots import installed_digest
from dagster_apollo.code_host.walls import forbid_looking
from dagster_apollo.errors import HostError
from dagster_apollo.host.role import say
from dagster_apollo.warm.forking import end_default_database, fork

# While tenants are looked at that the image holds, nothing is imported: it would take the processor from whoever shows
# them first. So long after the last was asked for there is quiet; one that is prepared for longer makes a manifest.
_QUIET_SECONDS, _LOOKING_SECONDS = 5.0, 0.5
# What a tenant's processes import, so that none of them pays for it; what is not installed is passed over.
PRELOADED = (
    "antlr4",
    "dagster",
    "dagster._core.execution.api",
    "dagster._core.executor.in_process",
    "dagster._core.executor.multiprocess",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.run_coordinator",
    "dagster._core.storage.fs_io_manager",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.runs.sqlite",
    "dagster._core.storage.event_log.sqlite",
    "dagster._core.storage.schedules.sqlite",
    "dagster._grpc.impl",
    "dagster._grpc.server",
    "dagster_postgres",
    "dagster_dbt",
    "dagster_dbt.asset_decorator",
    "dagster_dbt.core.resource",
    "alembic.command",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "dbt.cli.main",
    "dbt.version",
    "dagster_apollo.code_host.accounting",
    "dagster_apollo.code_host.location_process",
)
# What some of these make colours with where it is installed, for a person's terminal: not imported by them.
COLOURS = ("pygments", "rich")
# What a fork is asked to be, and where that is.
KINDS: Mapping[str, str] = {
    "prepare": preparing.__name__,
    "location": "dagster_apollo.code_host.location_process",
    "account": "dagster_apollo.code_host.accounting",
}


def steps(adapters: Sequence[str]) -> Iterator[Callable[[], object]]:
    """What is loaded once it serves, one after the other: between two of them it is asked for forks.

    Args:
        adapters: of dbt, whose macros are compiled here for all tenants.
    """
    for name in PRELOADED:
        yield partial(_import, name)
    yield partial(_use_once, adapters)


def import_all() -> None:
    """Import what a tenant's processes use, for whoever else forks them."""
    for name in PRELOADED:
        _import(name)


def _import(name: str) -> None:
    absent = [colour for colour in COLOURS if colour not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # as if it were not installed
    try:
        # What cannot do without is passed over as well, and imported by who uses it.
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    finally:
        for colour in absent:
            sys.modules.pop(colour, None)


def _use_once(adapters: Sequence[str]) -> None:
    from dagster_apollo.warm.preloading import preload

    preload(adapters)
    gc.collect()
    _give_back_memory()
    gc.freeze()


def _give_back_memory() -> None:
    """What was freed goes back to the kernel, where the C library can: https://man7.org/linux/man-pages/man3/malloc_trim.3.html."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Preloading:
    """When what is to be imported is imported, unless a fork waits for it.

    When there is quiet, or when a tenant is prepared for so long that its manifest is being made: the next may want it.
    """

    def __init__(self, adapters: Sequence[str]) -> None:
        self._left: deque[Callable[[], object]] = deque(steps(adapters))
        self._last_asked_at = time.monotonic()
        self._preparing: dict[int, float] = {}

    @property
    def is_done(self) -> bool:
        return not self._left

    def prepared(self, pid: int) -> None:
        """Take note that a tenant is being prepared."""
        self._last_asked_at = self._preparing[pid] = time.monotonic()

    def ended(self, pid: int) -> None:
        """Take note that a process has ended."""
        self._preparing.pop(pid, None)

    def seconds_until_next(self) -> float | None:
        """How long to listen before the next step, unless a fork waits for it; None: there is none."""
        if self.is_done:
            return None
        due_at = min(
            self._last_asked_at + _QUIET_SECONDS,
            *(began_at + _LOOKING_SECONDS for began_at in self._preparing.values()),
            math.inf,
        )
        return max(0.0, due_at - time.monotonic())

    def step(self) -> None:
        """Load the next."""
        self._left.popleft()()


def serve(asked: Line, adapters: Sequence[str]) -> None:
    """Fork what is asked for until the first process is gone.

    Tenants are prepared by what is loaded already, so that those whose snapshots are there are served at once; the
    other kinds of fork are made when everything is loaded.
    """
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's: the first process says when it is over
    asked.send({"is": "up", "digest": installed_digest()})
    preloading = Preloading(adapters)
    waiting: list[Message] = []
    try:
        while True:
            pause = 0.0 if waiting else preloading.seconds_until_next()
            readable, _, _ = select.select([asked, woken], [], [], pause)
            if woken in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
            for pid in _tell_of_the_ended(asked):
                preloading.ended(pid)
            while asked in readable and (message := asked.receive()):
                if message.fields["kind"] != "prepare":
                    waiting.append(message)
                elif (forked := _fork(asked, message)) is not None:
                    preloading.prepared(forked)
            if not readable and not preloading.is_done:
                preloading.step()
            while waiting and preloading.is_done:
                _fork(asked, waiting.pop(0))
    except LineClosed:
        return


def _tell_of_the_ended(asked: Line) -> Iterator[int]:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            asked.send({"is": "ended", "pid": ended[0], "code": os.waitstatus_to_exitcode(ended[1])})
            yield ended[0]


def _fork(asked: Line, message: Message) -> int | None:
    fields = message.fields
    [descriptor] = message.descriptors

    def child() -> int:
        _become(fields)
        # Nothing of the zygote's stays open: whoever has its line could ask for any tenant's user.
        os.dup2(descriptor, 3, inheritable=False)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        # Where Python starts a process anew it would import this program's main module again.
        main = sys.modules["__main__"]
        main.__spec__ = None
        main.__dict__.pop("__file__", None)
        line = Line(socket.socket(fileno=3), takes_descriptors=True)
        given = line.receive()
        assert given is not None  # noqa: S101
        os.environ.clear()
        os.environ.update(given.fields["environ"])
        tempfile.tempdir = None  # the tenant's own, not what was found here
        gc.enable()
        run: Callable[[Line, Mapping[str, Any]], int] = importlib.import_module(KINDS[fields["kind"]]).main
        return run(line, given.fields)

    end_default_database()  # an import may have opened it
    try:
        pid = fork(child)
    except (OSError, HostError) as error:  # no memory, say: its line closes, as if it had ended at once
        say(f"{fields['name']}: cannot be forked: {error}")
        return None
    finally:
        message.close()
    asked.send({"is": "forked", "id": fields["id"], "pid": pid})
    return pid


def _become(fields: Mapping[str, Any]) -> None:
    user = fields["user"]
    os.setsid()
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    os.umask(0o077)
    forbid_looking(fields["name"] if fields["kind"] == "location" else f"{fields['kind']}:{fields['name']}")


def main(descriptor: str, *adapters: str) -> None:
    """Say that it is there, import, fork."""
    forbid_looking("zygote")
    serve(Line(socket.socket(fileno=int(descriptor)), waits=False, takes_descriptors=True), adapters)


if __name__ == "__main__":
    main(*sys.argv[1:])
