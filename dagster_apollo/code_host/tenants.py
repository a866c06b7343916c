"""All tenants before they are served: prepared a few at a time, and looked at together.

Two tenants that would write the same tables are told apart here, since a tenant's own process knows of no other. What
comes of it, a key and an environment for each location, is given to the locations.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagster_apollo.code_host import preparing
from dagster_apollo.code_host.lines import Line, pair
from dagster_apollo.code_host.preparing import Report
from dagster_apollo.code_host.processes import Loop, Peer
from dagster_apollo.code_host.served_location import ServedLocation
from dagster_apollo.code_host.snapshots import baked_file, snapshot_key
from dagster_apollo.code_host.stock_location import StockLocation
from dagster_apollo.code_host.walls import Cell, signal_one, start
from dagster_apollo.code_host.zygote_process import Zygote
from dagster_apollo.dbt.relations import shared_tables
from dagster_apollo.errors import Problem
from dagster_apollo.host.role import LOCATION_VARIABLE, REFUSED_VARIABLE

# So long all wait for the slowest to be prepared, since two might write the same tables; then it is ended.
REPORT_TIMEOUT_SECONDS = 600.0
# Far above what any project's tables come to; a tenant must not fill the memory of the process that serves all.
LARGEST_REPORT_BYTES = 8 << 20
# A preparation that ended without a word is tried again after these waits.
BACKOFF_SECONDS = (1.0, 5.0, 15.0, 60.0)
_MOST_PROBLEMS = 50
_SILENT = "its preparation ended without a word"


@dataclass(eq=False)
class Tenant:
    """One tenant.

    Attributes:
        cell: its user and folder.
        environ: its variables.
        locations: that serve it.
        problem: what keeps it from being served, whatever it tells of itself.
        python: a Python of its own; None: it is served by forks.
        has_own_state: its folders are made anew at a start.
        report: what was told when it was prepared last; None: it has not been.
        preparing: the process that does it.
        began_at: when that began (monotonic, in seconds).
        wanted: it is to be prepared.
        afterwards: called once what is there now has been looked at.
    """

    cell: Cell
    environ: Mapping[str, str] = field(repr=False)
    locations: Sequence[ServedLocation | StockLocation]
    problem: Problem | None = None
    python: Path | None = None
    has_own_state: bool = True
    report: Report | None = None
    preparing: Peer | None = None
    began_at: float = 0.0
    wanted: bool = True
    prepared: bool = False
    failures: int = 0
    due_at: float = 0.0
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.cell.name


class Tenants:
    """All of them.

    Args:
        tenants: each.
        loop: that listens to them.
        zygote: forks what prepares them.
        baked_dir: where the image holds what was made when it was built.
        tell: one line of the log.
    """

    def __init__(
        self,
        tenants: Sequence[Tenant],
        loop: Loop,
        zygote: Zygote,
        baked_dir: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._baked_dir = baked_dir
        self.all, self._loop, self._zygote, self._tell = tenants, loop, zygote, tell
        self._began_at: float | None = None
        self._changed = False

    def look_after(self) -> None:
        """Prepare those that want to be, and decide what is served where something has changed."""
        if not self._zygote.is_up:
            return
        now = time.monotonic()
        self._began_at = now if self._began_at is None else self._began_at
        at_work = sum(tenant.preparing is not None for tenant in self.all)
        for tenant in self.all:
            if tenant.preparing and now - tenant.began_at > REPORT_TIMEOUT_SECONDS:
                self._end(tenant, tenant.preparing)
            if tenant.wanted and tenant.preparing is None and now >= tenant.due_at and at_work < _at_once():
                at_work += 1
                self._prepare(tenant)
        if self._changed and (now - self._began_at > REPORT_TIMEOUT_SECONDS or all(t.report for t in self.all)):
            self._decide()

    def prepare(self, tenant: Tenant, afterwards: Callable[[], None] | None = None) -> None:
        """Look at a tenant's folder now."""
        tenant.wanted, tenant.due_at = True, 0.0
        if afterwards:
            tenant.afterwards.append(afterwards)

    def _prepare(self, tenant: Tenant) -> None:
        tenant.wanted, tenant.began_at = False, time.monotonic()
        given = {
            "environ": dict(tenant.environ),
            "versions": self._zygote.digest,
            "folder": str(tenant.cell.folder),
            "first": not tenant.prepared and tenant.has_own_state,
        }
        tenant.prepared = True
        heard: list[Report] = []

        def hear(peer: Peer, fields: Mapping[str, object]) -> None:
            # The tenant's code may have written it: whatever can be wrong with it must not end the host of all others.
            try:
                heard.append(Report.from_fields(fields))
            except ValueError:
                self._tell(f"{tenant.name}: what was told of it cannot be read")

        def ended(peer: Peer) -> None:
            self._prepared(tenant, heard, peer.code)

        if tenant.python:
            tenant.preparing = self._start(tenant, tenant.python, given, hear, ended)
        else:
            tenant.preparing = self._zygote.fork(
                "prepare", tenant.name, tenant.cell.user, given, hear, ended, LARGEST_REPORT_BYTES
            )

    def _end(self, tenant: Tenant, preparing: Peer) -> None:
        """End what hangs, so that another has its place."""
        self._tell(f"{tenant.name}: its preparation is ended: it took more than {REPORT_TIMEOUT_SECONDS:.0f} s")
        if preparing.pid is not None:
            signal_one(tenant.cell, -preparing.pid, signal.SIGKILL)
        self._loop.close(preparing)

    def _start(
        self,
        tenant: Tenant,
        python: Path,
        given: Mapping[str, object],
        hear: Callable[[Peer, Mapping[str, object]], None],
        ended: Callable[[Peer], None],
    ) -> Peer:
        """The same by a Python of the tenant's own, which has the dbt that the tenant wants."""
        ours, theirs = pair()
        line = Line(ours, waits=False, largest_bytes=LARGEST_REPORT_BYTES)
        peer = self._loop.add(Peer(tenant.name, line, hear, ended))
        command = [str(python), "-m", preparing.__name__, str(theirs.fileno())]
        try:
            process = start(tenant.cell, command, tenant.environ, (theirs.fileno(),))
            self._loop.numbered(peer, process.pid)
        except OSError as error:
            self._tell(f"{tenant.name}: {python} cannot be started: {error.strerror}")
        finally:
            theirs.close()
        peer.say({**given, "environ": {}})
        return peer

    def _prepared(self, tenant: Tenant, heard: Sequence[Report], code: int | None) -> None:
        tenant.preparing = None
        if heard:
            tenant.report, tenant.failures = heard[0], 0
        else:
            self._tell(f"{tenant.name}: its preparation ended with {code}")
            wait = BACKOFF_SECONDS[min(tenant.failures, len(BACKOFF_SECONDS) - 1)]
            tenant.failures += 1
            tenant.wanted, tenant.due_at = True, time.monotonic() + wait
            if tenant.report is None:
                problem = Problem(f"tenants/{tenant.name}", _SILENT, "See the code host's log; it is tried again.")
                tenant.report = Report(problems=(problem,))
        self._changed = True

    def _decide(self) -> None:
        self._changed = False
        found = shared_tables({t.name: (t.report.place, t.report.tables) for t in self.all if t.report})
        for tenant in self.all:
            if tenant.report is None or tenant.preparing or (tenant.wanted and not tenant.failures):
                continue  # it is looked at when it has told
            problems = [*tenant.report.problems, *found.get(tenant.name, [])]
            problems += [tenant.problem] if tenant.problem else []
            refused = [json.dumps(problem.as_dict()) for problem in problems[:_MOST_PROBLEMS]]
            for location in tenant.locations:
                environ = {**tenant.environ, LOCATION_VARIABLE: location.name}
                if refused:
                    environ[REFUSED_VARIABLE] = f"[{', '.join(refused)}]"
                key = snapshot_key(tenant.report.content, environ, refused)
                if key != location.key:
                    for problem in problems:
                        self._tell(f"{location.name}: cannot be served: {problem}")
                baked = None if refused else baked_file(self._baked_dir, location.name, tenant.report.content)
                location.want(key, environ, baked)
            afterwards, tenant.afterwards = tenant.afterwards, []
            for call in afterwards:
                call()


def _at_once() -> int:
    return max(2, os.cpu_count() or 1)
