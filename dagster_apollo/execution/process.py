"""dbt, or another command, as a child process: what it prints line by line, its end, and its orderly stop.

Knows nothing of Dagster or of tenants: words, an environment and a folder go in, lines come out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Loaded before any fork: nothing may be imported between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # prctl(2)

# dbt gets this long, in seconds, to cancel its queries after an interrupt, before it is killed.
STOP_TIMEOUT_SECONDS = 20.0


def dbt_executable() -> Path:
    """The `dbt` that belongs to this Python, whatever else is on the PATH."""
    return Path(sys.executable).parent / "dbt"


@dataclass
class NativeCommand:
    """One running command. Iterate over `lines()`; afterwards `returncode` is set.

    Attributes:
        words: the program and its arguments; `python` is the one that runs this.
        environment: all of its variables.
        folder: where it runs.
        notes: nothing; a container has some.
    """

    words: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    returncode: int | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> Generator[str, None, None]:
        """Start it and yield what it prints. Whatever ends the iteration early also ends the command."""
        process = subprocess.Popen(
            self.argument_list(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self.environment),
            cwd=self.folder,
            start_new_session=True,  # an interrupt of the terminal reaches it through us, once
            preexec_fn=end_with_parent,
        )
        try:
            assert process.stdout is not None  # noqa: S101
            for line in process.stdout:
                yield line.decode("utf-8", "replace").rstrip("\n")
            self.returncode = process.wait()
        finally:
            self.returncode = _stop(process)

    def argument_list(self) -> list[str]:
        """What the system is given: `dbt` and `python` are those that belong together."""
        program, *arguments = self.words
        ours = {"dbt": str(dbt_executable()), "python": sys.executable}
        return [ours.get(program, program), *arguments]

    def bring(self, file: Path) -> None:
        """Nothing: what it writes is here."""


def end_with_parent() -> None:
    """In a child, before it becomes its program: have it end when its parent is gone, even by SIGKILL.

    A run that is killed takes its dbt along: left alone, dbt would hold the tables that the retry builds. By SIGTERM,
    since after an interrupt dbt would first wait for its threads. Linux only. The signal comes when the thread ends
    that started the child, which must be the main one.
    """
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> int:
    """End dbt and all that it started: an interrupt first, so that it cancels its queries; then a kill."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        # A full pipe would block dbt's logger and with it the stop.
        threading.Thread(target=_drain, args=(process,), daemon=True).start()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _drain(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ValueError, OSError):
        while process.stdout and process.stdout.read(65536):
            pass
