"""Child processes of a laptop's stack: started in groups of their own, logged to files, all stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.execution.process import end_with_parent

STOP_TIMEOUT_SECONDS = 15.0
_TAIL_LINES = 15


@dataclass
class Process:
    """One child.

    Attributes:
        name: what it is called in messages and the log's file name.
        popen: the running process.
        log: where its output goes.
        needed: whether the others are of no use without it.
        stop_signal: what asks it to end.
        told: whether it was said that it has ended.
    """

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    needed: bool = True
    stop_signal: signal.Signals = signal.SIGTERM
    told: bool = False

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    def require_running(self) -> None:
        """Raise if it has ended.

        Raises:
            HostError: with the last lines of its log.
        """
        if self.runs():
            return
        tail = "\n    ".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        what = f"ended with exit code {self.popen.returncode}; its last words:\n    {tail}\n   "
        raise HostError([Problem(self.name, what, f"The whole log: {self.log}")])


@dataclass
class ProcessGroup:
    """All children of one stack; use it as a context manager, so that none outlives it.

    Attributes:
        log_dir: one file a child.
        processes: in the order in which they were started.
    """

    log_dir: Path
    processes: list[Process] = field(default_factory=list)

    def __enter__(self) -> ProcessGroup:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        *,
        needed: bool = True,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Process:
        """Start a child in a session of its own: Ctrl-C reaches it through us, in order."""
        log = self.log_dir / f"{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=folder,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        process = Process(name, popen, log, needed, stop_signal)
        self.processes.append(process)
        return process

    def require_running(self) -> None:
        """Raise for the first needed child that has ended."""
        for process in self.processes:
            if process.needed:
                process.require_running()

    def ended(self) -> set[str]:
        """The names of the children that have ended."""
        return {process.name for process in self.processes if not process.runs()}

    def lost(self) -> list[HostError]:
        """Why children have ended that are not needed; each is told of once."""
        errors = []
        for process in self.processes:
            if process.needed or process.told:
                continue
            try:
                process.require_running()
            except HostError as error:
                errors.append(error)
                process.told = True
        return errors

    def stop(self) -> None:
        """End every child and all that it started: asked first, killed after a while."""
        descendants = [child for process in self.processes for child in _descendants(process.popen.pid)]
        for process in reversed(self.processes):
            _signal(process.popen.pid, process.stop_signal)
        end = time.monotonic() + STOP_TIMEOUT_SECONDS
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(end - time.monotonic(), 0.1))
        for process in self.processes:
            _signal(process.popen.pid, signal.SIGKILL)
            process.popen.wait()
        # Runs and dbt are sessions of their own below the code servers.
        _, alive = psutil.wait_procs(descendants, timeout=max(end - time.monotonic(), 0.5))
        for child in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(alive, timeout=5)
        self.processes.clear()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def who_listens(port: int) -> str:
    """The process that holds a port, for a message."""
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(connection.pid)
                    return f"process {process.pid} ({' '.join(process.cmdline())[:120] or process.name()})"
    return "another program"
