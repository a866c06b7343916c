"""`apollo code`: the process that knows every tenant's secrets, and serves each tenant from a process of its own.

It keeps the environment that the container was started with, gives each tenant's process that tenant's part of it, and
starts again what ends. It runs no tenant's code and does not import Dagster. What a tenant's process does before it
serves is `tenant_process.py`; the seam to webserver and daemon is the directory, so that another host may take its
place.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagster_apollo import environment
from dagster_apollo.dbt.relations import shared_tables
from dagster_apollo.dbt.workspace import Places
from dagster_apollo.errors import Problem
from dagster_apollo.host.broker import Broker
from dagster_apollo.host.directory import Location
from dagster_apollo.host.role import TENANT_VARIABLE, say
from dagster_apollo.host.tenant_process import Report
from dagster_apollo.host.walls import (
    Cell,
    send,
    start,
)

TICK_SECONDS = 0.2
# A tenant's process that ends at once is started again after these waits; one that has served for a while, at once.
BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
SERVED_WELL_SECONDS = 60.0
# So long the other tenants wait for the slowest to be prepared, since two might write the same tables; and from
# SIGTERM to SIGKILL at the very end.
REPORT_TIMEOUT_SECONDS = 600.0
# Far above what any project's tables come to; a tenant must not fill the memory of the process that serves all.
LARGEST_REPORT_BYTES = 8 << 20
LAST_GRACE_SECONDS = 5.0


@dataclass
class Tenant:
    """One tenant's process, whichever it is now; with several code locations it serves each from a child.

    Attributes:
        cell: its user, ports and folder.
        process: None before the first and between two.
        report: what it told; None: it has not yet.
        heard: what of the report has come.
        report_from, verdict_to, served_by: the pipes' ends that are ours; the last is closed when it is to drain, and
            there with several locations alone.
        started_at, due_at: when it was started, and when it is next (monotonic, in seconds).
        failures: how often it ended soon after its start, in a row.
        ready: the locations whose ports answer.
    """

    cell: Cell
    process: subprocess.Popen[bytes] | None = None
    report: Report | None = None
    heard: bytes = b""
    report_from: int | None = None
    verdict_to: int | None = None
    served_by: int | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    failures: int = 0
    ready: frozenset[str] = frozenset()
    problem: Problem | None = None

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def locations(self) -> list[Location]:
        return [Location(name, port, name in self.ready) for name, port in self.cell.ports.items()]


@dataclass
class CodeHost:
    """All tenants' processes, looked after by one loop in one thread.

    Attributes:
        environ: everybody's variables.
        places: the folders.
        bind: the address that gRPC servers and directory listen on.
        tenants: one each.
        drain_seconds: what runs in flight are given.
        broker: starts tenants' containers; None where there are none.
    """

    environ: Mapping[str, str] = field(repr=False)
    places: Places
    bind: str
    tenants: list[Tenant]
    drain_seconds: float
    shared_home: Path | None
    tell: Callable[[str], None] = say
    broker: Broker | None = None
    _stopping: bool = field(default=False, init=False)

    def run(self, publish: Callable[[Sequence[Location], bool], None]) -> None:
        """Serve until told to end, then drain.

        Args:
            publish: is given what the directory says, whenever it may have changed.
        """
        while not self._stopping:
            self._look_after()
            publish([location for tenant in self.tenants for location in tenant.locations], False)
            self._wait(TICK_SECONDS)
        publish([location for tenant in self.tenants for location in tenant.locations], True)
        self._drain()

    def stop(self, *_: object) -> None:
        """Begin to end: what a signal does."""
        self._stopping = True

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping

    def _look_after(self) -> None:
        self._reap()
        if self.broker:
            self.broker.look_after()
        now = time.monotonic()
        for tenant in self.tenants:
            if tenant.process is None and now >= tenant.due_at:
                self._start(tenant)
            if tenant.process and tenant.report and len(tenant.ready) < len(tenant.cell.ports):
                silent = {name: port for name, port in tenant.cell.ports.items() if name not in tenant.ready}
                tenant.ready |= {name for name, port in silent.items() if _answers(self.bind, port)}
        self._give_verdicts()

    def _start(self, tenant: Tenant) -> None:
        report_from, report_to = os.pipe()
        verdict_from, verdict_to = os.pipe()
        ports = [f"{name}={port}" for name, port in tenant.cell.ports.items()]
        words = [self.bind, str(report_to), str(verdict_from), *ports]
        command = [sys.executable, "-m", "dagster_apollo.host.tenant_process", *words]
        try:
            tenant.process = start(tenant.cell, command, self._environ_of(tenant.cell), (report_to, verdict_from))
        except OSError as error:  # no memory, no process: as if it had ended
            self.tell(f"{tenant.name}: cannot be started: {error.strerror}")
            os.close(report_from)
            os.close(verdict_to)
            self._ended(tenant)
            return
        finally:
            os.close(report_to)
            os.close(verdict_from)
        os.set_blocking(report_from, False)
        tenant.report_from, tenant.verdict_to = report_from, verdict_to
        tenant.started_at, tenant.heard, tenant.report, tenant.ready = time.monotonic(), b"", None, frozenset()

    def _environ_of(self, cell: Cell) -> dict[str, str]:
        own = {
            **environment.for_tenant(environment.without_settings_of_others(self.environ, "code"), cell.name),
            TENANT_VARIABLE: cell.name,
            "APOLLO_TENANTS_DIR": str(self.places.tenants_dir),
            "APOLLO_STATE_DIR": str(cell.folder),
            "DAGSTER_HOME": str(self.shared_home or cell.folder / "dagster"),
            "HOME": str(cell.folder),
            "TMPDIR": str(cell.folder / "tmp"),
            "PATH": f"{Path(sys.executable).parent}:{self.environ.get('PATH', '')}",
            "PYTHONPATH": str(self.places.root),
            **(self.broker.environ_of(cell.name) if self.broker else {}),
        }
        # Which engine there is, and with whose credentials images are pulled, is the broker's to know.
        own = {name: value for name, value in own.items() if not name.startswith("DOCKER_")}
        own.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode every import is paid again by every run
        return own

    def _wait(self, seconds: float) -> None:
        """Wait for a report, a signal or the time, and take in what has come."""
        waiting = {t.report_from: t for t in self.tenants if t.report_from is not None}
        with contextlib.suppress(InterruptedError):
            for descriptor in select.select(list(waiting), [], [], seconds)[0]:
                self._hear(waiting[descriptor])

    def _hear(self, tenant: Tenant) -> None:
        assert tenant.report_from is not None  # noqa: S101
        content = os.read(tenant.report_from, 1 << 16)
        tenant.heard += content
        too_large = len(tenant.heard) > LARGEST_REPORT_BYTES
        if content and not too_large and not tenant.heard.endswith(b"\n"):
            return
        os.close(tenant.report_from)
        tenant.report_from = None
        heard, tenant.heard = tenant.heard, b""
        if not too_large:
            # The tenant's code may have written it: whatever can be wrong with it must not end the host of all others.
            with contextlib.suppress(Exception):
                tenant.report = Report.from_json(heard)
        if heard and tenant.report is None and tenant.process:
            self.tell(f"{tenant.name}: what it told of itself cannot be read; its process is ended")
            send(tenant.cell, tenant.process.pid, signal.SIGKILL)

    def _give_verdicts(self) -> None:
        """Let those serve that wait to, once it is known which tables everybody writes."""
        now = time.monotonic()
        silent = [t for t in self.tenants if t.report is None and t.failures == 0]
        if any(now - t.started_at < REPORT_TIMEOUT_SECONDS for t in silent):
            return
        waiting = [t for t in self.tenants if t.report is not None and t.verdict_to is not None]
        if not waiting:
            return
        found = shared_tables({t.name: (t.report.place, t.report.tables) for t in self.tenants if t.report})
        for tenant in waiting:
            problems = [*found.get(tenant.name, []), *([tenant.problem] if tenant.problem else [])]
            self._give_verdict(tenant, problems)

    def _give_verdict(self, tenant: Tenant, problems: Sequence[Problem]) -> None:
        assert tenant.verdict_to is not None  # noqa: S101
        line = json.dumps([problem.as_dict() for problem in problems]).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            os.write(tenant.verdict_to, line)
        if len(tenant.cell.ports) > 1:
            tenant.served_by = tenant.verdict_to
        else:
            os.close(tenant.verdict_to)
        tenant.verdict_to = None

    def _reap(self) -> None:
        """Take note of every process that has ended, also of orphans that were left to the first process."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.broker and self.broker.ended(pid, status):
                continue
            for tenant in self.tenants:
                if tenant.process and tenant.process.pid == pid:
                    tenant.process.returncode = os.waitstatus_to_exitcode(status)
                    if not self._stopping:
                        self.tell(f"{tenant.name}: its process ended with {tenant.process.returncode}")
                    self._ended(tenant)

    def _ended(self, tenant: Tenant) -> None:
        for descriptor in (tenant.report_from, tenant.verdict_to, tenant.served_by):
            if descriptor is not None:
                os.close(descriptor)
        well = tenant.process is not None and time.monotonic() - tenant.started_at > SERVED_WELL_SECONDS
        tenant.failures = 0 if well else tenant.failures + 1
        wait = 0.0 if well else BACKOFF_SECONDS[min(tenant.failures, len(BACKOFF_SECONDS)) - 1]
        tenant.due_at = time.monotonic() + wait
        tenant.process, tenant.report, tenant.ready = None, None, frozenset()
        tenant.report_from = tenant.verdict_to = tenant.served_by = None

    def _drain(self) -> None:
        """Take no new run, let those in flight end, then end everything."""
        end = time.monotonic() + self.drain_seconds
        serving = [tenant for tenant in self.tenants if tenant.process]
        self.tell(f"told to end: no new runs; those in flight have {self.drain_seconds:g} s")
        for tenant in serving:
            if tenant.served_by is not None:  # what ends now is not started again
                os.close(tenant.served_by)
                tenant.served_by = None
        ask_to_finish(self.bind, [entry.port for tenant in serving for entry in tenant.locations if entry.ready])
        for tenant in serving:
            if tenant.process and not tenant.ready:  # it never served
                send(tenant.cell, tenant.process.pid, signal.SIGTERM)
        while any(tenant.process for tenant in serving) and time.monotonic() < end:
            self._reap()
            time.sleep(TICK_SECONDS)
        left = [tenant for tenant in serving if tenant.process]
        if left:
            self.tell(f"the time is over; still at work: {', '.join(tenant.name for tenant in left)}")
        self._end_all(left)

    def _end_all(self, left: Sequence[Tenant]) -> None:
        sessions = {tenant.name: tenant.process.pid for tenant in left if tenant.process}
        for tenant in left:
            send(tenant.cell, sessions[tenant.name], signal.SIGTERM)
        end = time.monotonic() + LAST_GRACE_SECONDS
        while any(tenant.process for tenant in left) and time.monotonic() < end:
            self._reap()
            time.sleep(TICK_SECONDS)
        for tenant in self.tenants:
            if tenant.cell.user is not None or tenant.name in sessions:
                send(tenant.cell, sessions.get(tenant.name, 0), signal.SIGKILL)
        if self.broker:
            self.broker.stop()
        self._reap()
        self.tell("ended")


def ask_to_finish(host: str, ports: Sequence[int]) -> None:
    """Ask gRPC servers to end once their runs have; in a process of its own, since gRPC would stay in this one."""
    command = [sys.executable, "-m", "dagster_apollo.host.drain", host, *map(str, ports)]
    if ports:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd="/", env=_bare_environment())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)


def _bare_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


def _answers(host: str, port: int) -> bool:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((address, port)) == 0
