"""A run's dbt as a command whose lines are read, whose process is a fork of one that has parsed the project.

In the run's process. It is to `execution/process.py` what a fork is to a program: the same lines, the same end, the
same orderly stop. What forks is `dbt_parent.py`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.execution.process import STOP_TIMEOUT_SECONDS
from dagster_apollo.warm.dbt_parent import INTERRUPT, KILL, Request, ask, serve
from dagster_apollo.warm.forking import fork

# With these dbt builds from another parse than that of the warm process.
_PARSED_OTHERWISE = {"--vars", "--target", "-t", "--profile", "--profiles-dir", "--project-dir"}
# The exit code of a dbt whose parent was killed before it could tell: dbt was ended with it.
_LOST = -signal.SIGTERM


class ForkedDbts:
    """The dbts of one run.

    Args:
        project_dir: the project that was parsed.
        be_dbt: what a fork does.
        keeps_targets: what they write is wanted afterwards.
    """

    def __init__(
        self, project_dir: Path, be_dbt: Callable[[Request, int], int], *, keeps_targets: bool = False
    ) -> None:
        self._project_dir = project_dir
        self._ask, asked = socket.socketpair()

        def child() -> int:
            self._ask.close()
            return serve(asked, be_dbt, keeps_targets=keeps_targets)

        self._pid: int | None = fork(child)
        asked.close()

    def has_parsed(self, words: Sequence[str], folder: Path) -> bool:
        """Whether what was parsed is what a command builds from."""
        return folder == self._project_dir and not _PARSED_OTHERWISE & {word.partition("=")[0] for word in words}

    def command(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> ForkedDbt:
        """A dbt that is about to start."""
        return ForkedDbt(self._ask, Request(words, environment, folder, self.has_parsed(words, folder)))

    def close(self) -> None:
        """End the dbt parent, and with it whatever still builds."""
        self._ask.close()
        if self._pid is not None:
            pid, self._pid = self._pid, None
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


class ForkedDbt:
    """One dbt. Iterate over `lines()`; afterwards `returncode` is set.

    Attributes:
        returncode: its exit code; negative: the signal that ended it.
        notes: nothing.
    """

    def __init__(self, parent: socket.socket, request: Request) -> None:
        self.returncode: int | None = None
        self.notes: tuple[str, ...] = ()
        self._parent = parent
        self._request = request

    def lines(self) -> Generator[str, None, None]:
        """Start it and yield what it prints. Whatever ends the iteration early also ends the command.

        Raises:
            HostError: the process that forks is gone.
        """
        output, printed_to = os.pipe()
        with open(output, "rb") as printed:
            try:
                talk = ask(self._parent, self._request, printed_to)
            except OSError as error:
                remedy = "See the code host's log. The run can be taken up again."
                what = f"cannot be started: the process that forks it is gone ({error.strerror})"
                raise HostError([Problem("dbt", what, remedy)]) from None
            finally:
                os.close(printed_to)
            with talk:
                try:
                    for line in printed:
                        yield line.decode("utf-8", "replace").rstrip("\n")
                    self.returncode = _exit_code(talk, printed.fileno(), None)
                finally:
                    if self.returncode is None:
                        self.returncode = _stop(talk, printed.fileno())

    def bring(self, file: Path) -> None:
        """Nothing: what it writes is here."""


def _stop(talk: socket.socket, output: int) -> int:
    """End a dbt: an interrupt first, so that it cancels its queries; then a kill."""
    for signalled, seconds in ((INTERRUPT, STOP_TIMEOUT_SECONDS), (KILL, STOP_TIMEOUT_SECONDS)):
        with contextlib.suppress(OSError):
            talk.sendall(signalled)
        if (code := _exit_code(talk, output, seconds)) is not None:
            return code
    return _LOST


def _exit_code(talk: socket.socket, output: int, seconds: float | None) -> int | None:
    """Wait for the end, and read what is printed meanwhile: a full pipe would block dbt's logger, and so its stop."""
    deadline = None if seconds is None else time.monotonic() + seconds
    waiting = [talk.fileno(), output]
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select(waiting, [], [], left)
        if talk.fileno() in readable:
            with contextlib.suppress(OSError):
                return int(talk.recv(16) or _LOST)
            return _LOST
        if not readable:
            return None
        if not os.read(output, 65536):
            waiting.remove(output)
