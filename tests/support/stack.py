"""`apollo dev` for a test: started as a terminal starts it, in an environment that the test wrote, stopped by a signal.

Every process of a stack carries a mark in its environment, so that a test can say that none is left: also one whose
parent is gone.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.ports import free_port
from tests.support.webserver import Webserver, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
START_TIMEOUT_SECONDS = 300.0
STOP_TIMEOUT_SECONDS = 90.0
COMMAND = (str(BIN / "apollo"), "dev")
_MARK = "STACK_OF_A_TEST"


def bare_environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment with nothing of this machine's in it: state, home and temporary files are below `folder`.

    Args:
        folder: short, since unix sockets are made below it: their paths hold 107 bytes at the most.
        more: further variables.
    """
    for name in ("user", "tmp", "state", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "user"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "APOLLO_STATE_DIR": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "home"),
        **more,
    }


@dataclass
class Stack:
    """A running `apollo dev`.

    Attributes:
        process: it; also the number of its process group, as of a job of a terminal.
        environ: what it was started with.
        output: the file with all it prints.
        seen: those of its processes that were looked at.
    """

    process: subprocess.Popen[bytes]
    environ: Mapping[str, str]
    output: Path
    seen: set[psutil.Process] = field(default_factory=set)

    @classmethod
    def start(cls, environ: Mapping[str, str], command: Sequence[str] = COMMAND, folder: Path = REPOSITORY) -> Stack:
        """Start it; on a port of its own, unless the environment names one."""
        marked = {"PORT": str(free_port()), **environ, _MARK: uuid.uuid4().hex}
        output = Path(environ["TMPDIR"]).parent / f"output-{uuid.uuid4().hex[:8]}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=marked,
                cwd=folder,
                start_new_session=True,
            )
        return cls(process, marked, output)

    @property
    def address(self) -> str:
        """Where its webserver listens."""
        return f"http://127.0.0.1:{self.environ['PORT']}"

    @property
    def webserver(self) -> Webserver:
        """Its webserver."""
        return Webserver(self.address)

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self.output.read_text(errors="replace")

    @property
    def logs(self) -> str:
        """What its processes wrote, for the report of a test that failed."""
        files = sorted((Path(self.environ["APOLLO_STATE_DIR"]) / "logs").glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-4000:]}" for file in files)

    def wait_until_it_says(self, words: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> Stack:
        """Wait for words of its output, such as `ready:`."""

        def said_or_ended() -> bool:
            return words in self.said or self.process.poll() is not None

        wait_until(said_or_ended, f"`apollo dev` says {words!r}", timeout_seconds)
        assert words in self.said, f"it ended with {self.process.returncode}:\n{self.said}\n{self.logs}"
        return self

    def wait_until_ready(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> Stack:
        """Wait until it serves and everything that was never built is built."""
        return self.wait_until_it_says("ready:", timeout_seconds)

    def answers(self) -> bool:
        """Whether anything listens on its port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.environ["PORT"]))) == 0

    def processes(self) -> list[psutil.Process]:
        """All that live and came of it: they have its variables, or a parent that has; some are given others."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == self.environ[_MARK]:
                    self.seen |= {process, *process.children(recursive=True)}
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return sorted((process for process in self.seen if _lives(process)), key=lambda process: process.pid)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal to the process group, as a terminal does on Ctrl-C; the exit code."""
        self.processes()
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        return self.process.wait(STOP_TIMEOUT_SECONDS)

    def assert_nothing_is_left(self) -> None:
        """Fail if a process, a socket's folder or a listener of it is still there."""
        assert [process.cmdline() for process in self.processes()] == []
        temporary = Path(self.environ["TMPDIR"])
        assert [path.name for path in temporary.iterdir() if path.name.startswith("apollo-sockets")] == []
        assert not self.answers()

    def kill(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in self.processes():
            process.kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


StartStack = Callable[..., Stack]
"""A fixture that starts stacks and stops them after the test; takes what `Stack.start` takes."""


def run_to_its_end(command: Sequence[str], environ: Mapping[str, str], folder: Path = REPOSITORY) -> tuple[int, str]:
    """A command's exit code and all that it printed."""
    ended = subprocess.run(
        list(command),
        env=dict(environ),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=START_TIMEOUT_SECONDS,
        check=False,
    )
    # Colours and line breaks of a terminal are not what a test is about.
    return ended.returncode, re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout.decode(errors="replace"))
