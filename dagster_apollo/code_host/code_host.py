"""`apollo code`: the process that knows every tenant's secrets, and serves each tenant from processes of its own.

It keeps the environment that the container was started with, has the zygote fork what a tenant needs, gives each fork
that tenant's part of it, and starts again what ends. It runs no tenant's code and imports neither Dagster nor gRPC. How
tenants are prepared is `tenants.py`, how a location is served `served_location.py`, what is known of runs
`runs_here.py`; what is here puts them together: one loop, the front's questions, and the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_apollo.code_host.answers import (
    can_cancel_result,
    cancel_result,
    current_runs_result,
    shutdown_result,
    start_run_result,
)
from dagster_apollo.code_host.broker import Broker
from dagster_apollo.code_host.database_wait import DatabaseWait
from dagster_apollo.code_host.directory import Location
from dagster_apollo.code_host.folder_watch import FolderWatch
from dagster_apollo.code_host.front_process import Front
from dagster_apollo.code_host.lines import pair
from dagster_apollo.code_host.processes import Loop, Peer, Say
from dagster_apollo.code_host.runs_here import Run, RunsHere
from dagster_apollo.code_host.served_location import ServedLocation
from dagster_apollo.code_host.stock_location import StockLocation
from dagster_apollo.code_host.tenants import Tenant, Tenants
from dagster_apollo.code_host.walls import kill_all, make_socket_folder, signal_one
from dagster_apollo.code_host.zygote_process import Zygote
from dagster_apollo.errors import HostError
from dagster_apollo.host.role import say

TICK_SECONDS = 0.5
_DRAIN_TICK_SECONDS = 0.1
# Of the time that runs in flight have, the last part is for ending them in order: dbt cancels its queries. And what
# there is from SIGTERM to SIGKILL at the very end.
STOP_SECONDS, LAST_GRACE_SECONDS = 30.0, 5.0
# Locations whose snapshots are made at once, each by a process that loads all of its definitions.
_MAKING_AT_ONCE = max(2, os.cpu_count() or 1)
DRAINING = "the code host is about to end and takes no new run"
WAITING = "the code host waits for its database and takes no new run"


@dataclass(eq=False)
class CodeHost:
    """All of it, looked after by one loop in one thread.

    Attributes:
        loop: that waits for every process.
        zygote, front: the two that serve all.
        tenants: the tenants.
        state_dir: what this machine keeps.
        drain_seconds: what runs in flight are given at the end.
        idle_seconds: after which a tenant's processes are let go.
        environ_of_ours: of a process that reads and writes Dagster's records and calls the front.
        broker: starts tenants' containers; None where there are none.
        watch: sees that a tenant's folder has changed; None where it never does.
        database: waited for; set before it runs.
    """

    loop: Loop
    zygote: Zygote
    tenants: Tenants
    state_dir: Path
    drain_seconds: float
    idle_seconds: float
    environ_of_ours: Mapping[str, str] = field(repr=False)
    broker: Broker | None = None
    watch: FolderWatch | None = None
    tell: Callable[[str], None] = say
    front: Front = field(init=False)
    database: DatabaseWait = field(init=False)
    runs: RunsHere = field(init=False)
    _stopping: bool = field(default=False, init=False)
    _locations: dict[str, ServedLocation | StockLocation] = field(init=False)
    _tenant_of: dict[str, Tenant] = field(init=False)

    def __post_init__(self) -> None:
        self.runs = RunsHere(self._account, self.tell)
        self.runs.refusing = WAITING
        self._locations = {each.name: each for tenant in self.tenants.all for each in tenant.locations}
        self._tenant_of = {each.name: tenant for tenant in self.tenants.all for each in tenant.locations}
        for each in self._locations.values():
            if isinstance(each, ServedLocation):
                each.on_unforkable = self.give_a_server

    def give_a_server(self, location: ServedLocation, why: str) -> None:
        """Serve a location that cannot be forked from Dagster's own server, from now on."""
        self.tell(f"{location.name}: it is served by a server of its own, which is always there: {why}")
        try:
            folder = make_socket_folder(self.state_dir, location.cell, location.name)
        except HostError as error:
            location.cannot_be_loaded(str(error.problems[0]))
            return
        stock = StockLocation(location.name, location.cell, Path(sys.executable), folder, self.tell)
        tenant = self._tenant_of[location.name]
        tenant.locations = [stock if each is location else each for each in tenant.locations]
        self._locations[location.name] = stock
        if location.cell.user is not None and self.front.user is not None:
            self.front.admit(location.cell.user)
        stock.want(str(location.key), location.environ)

    def run(self, publish: Callable[[Sequence[Location], bool], None]) -> None:
        """Serve until told to end, or until the database was waited for in vain, then drain.

        Args:
            publish: is given what the directory says, whenever it may have changed.
        """
        while not self._stopping and self.database.problem is None:
            if self.database.instance is not None:
                self.runs.refusing = None
            self._look_after()
            publish(self._served(), False)
            self.loop.turn(TICK_SECONDS)
        publish(self._served(), True)
        self.database.stop()
        self._drain("told to end" if self._stopping else "the database was waited for in vain")

    def stop(self, *_: object) -> None:
        """Begin to end: what a signal does."""
        self._stopping = True

    def asked(self, fields: Mapping[str, Any], reply: Say) -> None:
        """What the front asks; answered now or later, to whoever asked."""
        number = fields["id"]
        location = self._locations.get(str(fields.get("location")))
        run_id = str(fields.get("run_id"))

        def answer(result: str) -> None:
            reply({"is": "answer", "id": number, "result": result})

        match fields["do"]:
            case "CancelExecution":
                answer(cancel_result(self.runs.stop(run_id)))
            case "CanCancelExecution":
                answer(can_cancel_result(self.runs.can_be_stopped(run_id)))
            case "GetCurrentRuns":
                answer(current_runs_result(self.runs.of(location.name if location else None)))
            case _ if location is None:
                answer("")
            case "serve" if isinstance(location, ServedLocation):
                location.awaken(
                    lambda: self._serve(location, number, reply),
                    lambda why: reply({"is": "answer", "id": number, "why": why}),
                )
            case "StartRun" if isinstance(location, ServedLocation):
                if self._stopping:
                    answer(start_run_result(False, DRAINING))
                else:
                    self.runs.start(run_id, location, str(fields["arguments"]), answer)
            case "ReloadCode":
                self._reload(location, lambda: answer(""))
            case "ShutdownServer":
                self.front.say({"is": "let go", "location": location.name})
                location.end_warm()
                answer(shutdown_result())
            case _:
                reply({"is": "answer", "id": number, "why": "it is served by a server of its own"})

    def _served(self) -> list[Location]:
        return [
            Location(each.name, self.front.port, self.front.serves(each.name, each.server_id), each.server_id)
            for each in self._locations.values()
        ]

    def _look_after(self) -> None:
        self._reap()
        if self.broker:
            self.broker.look_after()
        self.zygote.look_after()
        self.front.look_after()
        for name in self.watch.changed() if self.watch else ():
            self.tenants.prepare(next(tenant for tenant in self.tenants.all if tenant.name == name))
        self.tenants.look_after()
        if self.zygote.is_up:
            making = sum(each.making is not None or each.is_loading for each in self._locations.values())
            for location in self._locations.values():
                if isinstance(location, ServedLocation) and location.wants_snapshot and making < _MAKING_AT_ONCE:
                    making += 1
                    location.make_snapshot()
        for location in self._locations.values():
            location.retire_when_idle(self.idle_seconds)
        if self.database.instance is not None:  # who begins runs by itself
            for stock in self._stock():
                stock.look_after()
        self.front.know(
            [
                {
                    "name": each.name,
                    "server_id": each.server_id,
                    "snapshot": str(each.snapshot or ""),
                    "stock": str(each.stock or ""),
                    "user": each.cell.user,
                }
                for each in self._locations.values()
            ]
        )

    def _stock(self) -> list[StockLocation]:
        return [each for each in self._locations.values() if isinstance(each, StockLocation)]

    def _serve(self, location: ServedLocation, number: int, reply: Say) -> None:
        fronts, servers = pair()
        location.fork({"do": "serve"}, [servers.fileno()], lambda *_: None, lambda _: None)
        reply({"is": "answer", "id": number}, [fronts.fileno()])
        fronts.close()
        servers.close()

    def _reload(self, location: ServedLocation | StockLocation, afterwards: Callable[[], None]) -> None:
        """Prepare and load a location's tenant anew; afterwards is called once the location serves it."""

        def prepared() -> None:
            self.front.say({"is": "let go", "location": location.name})
            location.make_anew(afterwards)

        self.tenants.prepare(self._tenant_of[location.name], prepared)

    def _account(self, run: Run, code: int | None) -> None:
        """Have a run marked whose process died."""
        if run.peer and run.peer.pid is not None:  # what it started must not go on building
            signal_one(run.location.cell, -run.peer.pid, signal.SIGKILL)
        given = {"environ": dict(run.location.environ), "arguments": run.arguments, "code": code}
        self.zygote.fork("account", run.location.name, run.location.cell.user, given, lambda *_: None, lambda _: None)

    def _reap(self) -> None:
        """Take note of every process that has ended, also of orphans that were left to this one."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.database.ended(pid, status) or (self.broker and self.broker.ended(pid, status)):
                continue
            code = os.waitstatus_to_exitcode(status)
            if any(each.ended(pid, code) for each in self._stock()):
                continue
            if not self.zygote.ended(pid, status) and not self.front.ended(pid, status):
                self.loop.ended(pid, code)

    def _drain(self, why: str) -> None:
        """Take no new run, let those in flight end, then have them stop, then end everything."""
        self.runs.refusing = DRAINING
        self.tell(f"{why}: no new runs; {len(self.runs)} in flight have {self.drain_seconds:g} s")
        for stock in self._stock():  # Dagster's own server ends by itself when its runs have
            stock.is_ending = True
            self.front.say({"is": "finish", "location": stock.name})
        stopping = min(STOP_SECONDS, self.drain_seconds / 2)
        self._wait_for_runs(self.drain_seconds - stopping)
        if self._is_at_work():
            self.tell("runs are asked to stop; what they do not finish is taken up elsewhere")
            asking = self._interrupt_runs()
            self._wait_for_runs(stopping)
            # In a container it is another's, whom root without the capability KILL may not signal: it ends with it.
            with contextlib.suppress(PermissionError):
                asking.kill()
            at_work = sorted({run.location.cell.name for run in self.runs})
            if at_work:
                self.tell(f"the time is over; still at work: {', '.join(at_work)}")
                self._ask_runs_to_stop()
        for stock in self._stock():
            stock.end_warm()
        self.front.stop()
        left = self._processes()
        for location in self._locations.values():
            location.end_warm()
        end = time.monotonic() + LAST_GRACE_SECONDS
        while any(peer.gone_at is None for _, peer in left) and time.monotonic() < end:
            self.loop.turn(_DRAIN_TICK_SECONDS)
            self._reap()
        self.zygote.stop()
        self._kill(left)
        if self.broker:
            self.broker.stop()
        self.loop.turn(_DRAIN_TICK_SECONDS)
        self._reap()
        self.tell("ended")

    def _is_at_work(self) -> bool:
        return len(self.runs) > 0 or any(stock.process for stock in self._stock())

    def _interrupt_runs(self) -> subprocess.Popen[bytes]:
        """Have all runs marked and cancelled, over the front, by a process that imports Dagster."""
        command = [sys.executable, "-m", "dagster_apollo.code_host.interruption", self.front.bind, str(self.front.port)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd="/", env=dict(self.environ_of_ours))

    def _ask_runs_to_stop(self) -> None:
        for run in self.runs:
            self.runs.stop(run.run_id, signal.SIGTERM)

    def _wait_for_runs(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._is_at_work() and time.monotonic() < end:
            self._reap()
            self.front.look_after()
            self.zygote.look_after()
            self.loop.turn(_DRAIN_TICK_SECONDS)

    def _processes(self) -> list[tuple[ServedLocation, Peer]]:
        served = [each for each in self._locations.values() if isinstance(each, ServedLocation)]
        return [(location, peer) for location in served for peer in location.processes]

    def _kill(self, left: Sequence[tuple[ServedLocation, Peer]]) -> None:
        for location, peer in left:
            if peer.gone_at is None and peer.pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal_one(location.cell, -peer.pid, signal.SIGKILL)  # its group: what it started goes along
        kill_all(tenant.cell for tenant in self.tenants.all)
