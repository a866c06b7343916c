"""The runs that live on this host: started, found by their ids, asked to stop, accounted for when they die.

They are known here and nowhere else, so that front, zygote and the tenants' processes may end while runs go on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster_apollo.code_host.answers import start_run_result
from dagster_apollo.code_host.processes import Peer
from dagster_apollo.code_host.served_location import ServedLocation
from dagster_apollo.code_host.walls import signal_one

Reply = Callable[[str], None]


@dataclass(eq=False)
class Run:
    """One run.

    Attributes:
        run_id: Dagster's.
        location: whose.
        arguments: what its launcher sent.
        reply: told once whether it was started; None: it was.
        peer: its process; None: the location is being woken.
        asked_to_stop: whether it was.
    """

    run_id: str
    location: ServedLocation
    arguments: str = field(repr=False)
    reply: Reply | None
    peer: Peer | None = None
    asked_to_stop: bool = False


class RunsHere:
    """All runs.

    Args:
        account: called with a run whose process died, and its exit code where that is known.
        tell: one line of the log.
    """

    def __init__(self, account: Callable[[Run, int | None], None], tell: Callable[[str], None]) -> None:
        self._account, self._tell = account, tell
        self._runs: dict[str, Run] = {}
        self.refusing: str | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs.values()))

    def of(self, location: str | None) -> list[str]:
        """The ids of a location's runs; None: of all."""
        return [run.run_id for run in self._runs.values() if location in (None, run.location.name)]

    def start(self, run_id: str, location: ServedLocation, arguments: str, reply: Reply) -> None:
        """Start a run; `reply` is given what its launcher is answered."""
        if self.refusing or run_id in self._runs:
            reply(start_run_result(False, self.refusing or f"the run {run_id} is here already"))
            return
        run = Run(run_id, location, arguments, reply)
        self._runs[run_id] = run
        location.awaken(lambda: self._fork(run), lambda why: self._refused(run, f"{location.name}: {why}"))

    def stop(self, run_id: str, number: signal.Signals = signal.SIGINT) -> bool:
        """Ask a run to stop; whether it is here."""
        run = self._runs.get(run_id)
        if run is None or run.peer is None or run.peer.pid is None or run.peer.gone_at is not None:
            return False
        run.asked_to_stop = True
        signal_one(run.location.cell, run.peer.pid, number)
        return True

    def can_be_stopped(self, run_id: str) -> bool:
        """Whether a run is here that was not asked to stop."""
        run = self._runs.get(run_id)
        return run is not None and not run.asked_to_stop

    def _fork(self, run: Run) -> None:
        fields = {"do": "run", "run_id": run.run_id, "arguments": run.arguments}
        run.peer = run.location.fork(fields, [], lambda _, told: self._hear(run, told), lambda _: self._ended(run))

    def _hear(self, run: Run, fields: Mapping[str, Any]) -> None:
        if run.peer and run.peer.pid is None and "pid" in fields:  # who forked it was let go before it could tell
            run.location.loop.numbered(run.peer, int(fields["pid"]))
        if fields.get("is") == "started" and run.reply:
            run.reply(str(fields.get("result")))
            run.reply = None

    def _refused(self, run: Run, why: str) -> None:
        self._runs.pop(run.run_id, None)
        if run.reply:
            run.reply(start_run_result(False, why))

    def _ended(self, run: Run) -> None:
        self._runs.pop(run.run_id, None)
        run.location.used_at = time.monotonic()
        code = run.peer.code if run.peer else None
        if run.reply:
            run.reply(start_run_result(False, f"the run's process ended with {code} at its start"))
        elif code != 0:
            self._tell(f"{run.location.name}: the process of run {run.run_id} ended with {code}")
            self._account(run, code)
