"""A code location that has Dagster's own server, because it cannot be forked: a tenant with a Python of its own.

Another dbt, another adapter, packages that get along with nobody else's; or Python that starts a thread when it is
imported. The server is always there, answers every call itself and runs what it is asked to in processes that it
starts; the front reaches it on a socket in a folder that nobody else may enter. To `code_host.py` it is what
`ServedLocation` is.
"""

from __future__ import annotations

import hashlib
import itertools
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dagster_apollo.code_host.processes import Peer
from dagster_apollo.code_host.served_location import Refused, Woken
from dagster_apollo.code_host.walls import Cell, signal_one, start

# A server that ends at once is started again after these waits; one that has served for a while, after the first.
BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
SERVED_WELL_SECONDS = 60.0
MODULE = "dagster_apollo.code_host.code_location"
_numbers = itertools.count()


@dataclass(eq=False)
class StockLocation:
    """A location.

    Attributes:
        name: its name.
        cell: its tenant's.
        python: what runs its server.
        folder: where its socket is, for the tenant and the front alone.
        key: what it is to serve is made of; None: that is not known yet.
        stock: its server's socket, once that is there.
        server_id: what tells what it serves now.
    """

    name: str
    cell: Cell
    python: Path
    folder: Path
    tell: Callable[[str], None]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str | None = None
    stock: Path | None = None
    server_id: str | None = None
    snapshot: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    used_at: float = 0.0
    making: Peer | None = None
    is_loading: bool = False
    is_ending: bool = False
    _socket: Path | None = None
    _is_let_go: bool = False
    _id: str = ""
    _started_at: float = 0.0
    _due_at: float = 0.0
    _failures: int = 0
    _afterwards: list[Woken] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        """Whether it can be loaded."""
        return self.stock is not None

    @property
    def processes(self) -> list[Peer]:
        """None that has a line to the first process."""
        return []

    def want(self, key: str, environ: Mapping[str, str], baked: Path | None = None) -> None:
        """Serve what `key` is made of."""
        if key != self.key:
            self.key, self.environ = key, environ
            self.end_warm()

    def make_anew(self, afterwards: Woken) -> None:
        """Load what there is once more; then call `afterwards`."""
        self._afterwards.append(afterwards)
        self.end_warm()

    def end_warm(self) -> None:
        """Let the server end when its runs have; another is started then."""
        self.stock, self._due_at, self._is_let_go = None, 0.0, True
        if self.process:
            signal_one(self.cell, self.process.pid, signal.SIGTERM)

    def look_after(self) -> None:
        """Start it where it is not there, and see when it serves."""
        now = time.monotonic()
        if self.process is None and self.key is not None and now >= self._due_at and not self.is_ending:
            self._start()
        if self.process and self.stock is None and self._socket and not self._is_let_go and _is_socket(self._socket):
            self.stock, self.server_id = self._socket, self._id
            afterwards, self._afterwards = self._afterwards, []
            for call in afterwards:
                call()

    def ended(self, pid: int, code: int) -> bool:
        """Take note that a process has ended; whether it was this one's."""
        if self.process is None or self.process.pid != pid:
            return False
        self.process.returncode = code
        if code and not self.is_ending:
            self.tell(f"{self.name}: its server ended with {code}")
        if self._socket:
            self._socket.unlink(missing_ok=True)
        well = time.monotonic() - self._started_at > SERVED_WELL_SECONDS
        self._failures = 0 if well else min(self._failures + 1, len(BACKOFF_SECONDS) - 1)
        self._due_at = time.monotonic() + BACKOFF_SECONDS[self._failures]
        self.process, self.stock = None, None
        return True

    def awaken(self, then: Woken, otherwise: Refused) -> None:
        """It is not for the first process to wake: the front passes every call on."""
        otherwise("its server does not serve yet")

    def retire_when_idle(self, idle_seconds: float) -> None:
        """Never: it is started for good."""

    def _start(self) -> None:
        self._is_let_go = False
        self._socket = self.folder / f"{next(_numbers)}.sock"
        self._socket.unlink(missing_ok=True)
        self._id = f"{self.name}-{hashlib.sha256(f'{self.key}:{time.time_ns()}'.encode()).hexdigest()[:24]}"
        command = [str(self.python), "-m", "dagster", "api", "grpc", "--lazy-load-user-code"]
        command += ["--socket", str(self._socket), "--location-name", self.name, "--fixed-server-id", self._id]
        self._started_at = time.monotonic()
        try:
            # The group may write, which the front is in; the folder is closed to all others.
            self.process = start(self.cell, [*command, "-m", MODULE], self.environ, (), umask=0o007)
        except OSError as error:
            self.tell(f"{self.name}: its server cannot be started: {error.strerror}")
            self._due_at = self._started_at + BACKOFF_SECONDS[-1]


def _is_socket(path: Path) -> bool:
    """Whether it is one itself: a link may lead to another tenant's."""
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False
