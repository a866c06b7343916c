"""One code location: its snapshot, its warm process while it is awake, and what that forked.

An idle location has no process. What wakes it is a call that needs the tenant's code, a run, or a snapshot that has to
be made. All of it happens in the first process's loop: nothing here waits.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_apollo.code_host import protobuf
from dagster_apollo.code_host.lines import Line, pair
from dagster_apollo.code_host.processes import Loop, Peer
from dagster_apollo.code_host.snapshots import LIST_REPOSITORIES, file_digest, load_error, write_entries
from dagster_apollo.code_host.walls import Cell, as_group, signal_one
from dagster_apollo.code_host.zygote_process import Zygote

# What died while it was loaded is loaded again after this: memory may have been short.
_AGAIN_SECONDS = 60.0
# What is not loaded by then hangs: it would keep its callers waiting, and the place of another that is to be loaded.
LOADING_SECONDS, _AFTER_HANGING_SECONDS = 300.0, 3600.0
# So many forks in a row may be lost with a zygote that was killed.
_MOST_LOST = 3
_numbers = itertools.count()
Woken = Callable[[], None]
Refused = Callable[[str], None]


@dataclass(eq=False)
class ServedLocation:
    """A location.

    Attributes:
        name: its name.
        cell: its tenant's.
        folder: where its snapshots are kept, for the front to read.
        front_group: the front's group; None: it is of this process's own user.
        is_passing: what it loads is not made of its folder alone, so a snapshot does not outlive a start.
        on_unforkable: called with the reason when what it loads keeps its process from being forked.
        environ: its variables.
        key: what it is to serve is made of; None: that is not known yet.
        snapshot, server_id: what it serves now; None: nothing yet.
        wants_snapshot: that of `key` has still to be made.
        used_at: when it was last needed (monotonic, in seconds).
    """

    name: str
    cell: Cell
    folder: Path
    front_group: int | None
    is_passing: bool
    loop: Loop
    zygote: Zygote
    tell: Callable[[str], None]
    on_unforkable: Callable[[ServedLocation, str], None] = lambda location, why: None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str | None = None
    snapshot: Path | None = None
    server_id: str | None = None
    wants_snapshot: bool = False
    making: Peer | None = field(default=None, repr=False)
    used_at: float = 0.0
    forks: set[Peer] = field(default_factory=set, repr=False)
    stock: None = None
    _warm: Peer | None = field(default=None, repr=False)
    _has_loaded: bool = False
    _started_at: float = 0.0
    _is_proven: bool = False
    _served_key: str | None = None
    _again_at: float | None = None
    _loads: bool = False
    _lost: int = 0
    _waiting: list[tuple[Woken, Refused]] = field(default_factory=list)
    _afterwards: list[Woken] = field(default_factory=list)
    _by_number: dict[int, Peer] = field(default_factory=dict, repr=False)

    @property
    def is_ready(self) -> bool:
        """Whether it can be loaded."""
        return self.snapshot is not None

    @property
    def warm_pid(self) -> int | None:
        """Its warm process."""
        return self._warm.pid if self._warm else None

    def want(self, key: str, environ: Mapping[str, str], baked: Path | None = None) -> None:
        """Serve what `key` is made of: at once where there is a snapshot of it, else as soon as it is made.

        Args:
            key: what tells one version from another.
            environ: its variables.
            baked: where the image would hold a snapshot of it, made without its variables.
        """
        if key == self.key:
            return
        self.key, self.environ = key, environ
        self.end_warm()
        if self._waiting:
            self._start()
        file = self.folder / f"{key}.zip"
        self._is_proven = file.exists() and self._publish(file)
        is_of_image = not self._is_proven and not self.is_passing and baked is not None and baked.exists()
        self.wants_snapshot = not self._is_proven and not (is_of_image and baked and self._publish(baked))

    @property
    def is_loading(self) -> bool:
        """Whether its warm process is about to be."""
        return self._warm is not None and not self._has_loaded

    @property
    def processes(self) -> list[Peer]:
        """All that live."""
        return [*self.forks, *([self._warm] if self._warm else [])]

    def make_anew(self, afterwards: Callable[[], None]) -> None:
        """Load what there is once more, although it may be made of the same; then call `afterwards`."""
        self.end_warm()
        self.wants_snapshot = True
        self._afterwards.append(afterwards)
        if self._waiting:
            self._start()

    def awaken(self, then: Woken, otherwise: Refused) -> None:
        """Have its warm process ready.

        Args:
            then: called when it is.
            otherwise: called with the reason when it cannot be.
        """
        self.used_at = time.monotonic()
        if self._warm and self._has_loaded:
            then()
            return
        self._waiting.append((then, otherwise))
        if self._warm is None and self.key is not None:  # else it is started when it is known as what
            self._start()

    def fork(
        self,
        fields: Mapping[str, Any],
        descriptors: Sequence[int],
        on_message: Callable[[Peer, Mapping[str, Any]], None],
        on_end: Callable[[Peer], None],
    ) -> Peer:
        """Ask the warm process, which is ready, for a fork; the fork has a line of its own to this process."""
        ours, theirs = pair()

        def ended(peer: Peer) -> None:
            self.forks.discard(peer)
            on_end(peer)

        peer = self.loop.add(Peer(self.name, Line(ours, waits=False), on_message, ended))
        self.forks.add(peer)
        number = next(_numbers)
        self._by_number[number] = peer
        if self._warm:
            self._warm.say({**fields, "id": number}, [*descriptors, theirs.fileno()])
        theirs.close()
        return peer

    def end_warm(self) -> None:
        """Let the warm process end; what it forked goes on."""
        was_loading, warm = self.is_loading, self._warm
        self._warm, self._has_loaded = None, False
        self._by_number.clear()
        if warm:
            self.loop.close(warm)
        if warm and warm.pid is not None and was_loading:  # it does not listen, and has forked nothing
            signal_one(self.cell, warm.pid, signal.SIGKILL)

    def retire_when_idle(self, idle_seconds: float) -> None:
        """End the warm process where it hangs, or nobody has needed it, or anything that it forked, for a while."""
        if self.is_loading and time.monotonic() - self._started_at > LOADING_SECONDS:
            why = f"they were not loaded within {LOADING_SECONDS:.0f} s"
            self.tell(f"{self.name}: its definitions cannot be loaded: {why}")
            self.end_warm()
            self._refuse(why)
            self._again_at = time.monotonic() + _AFTER_HANGING_SECONDS
        if self._again_at is not None and time.monotonic() > self._again_at:
            self._again_at, self.wants_snapshot = None, True
        busy = self._waiting or self.forks or not self._has_loaded
        if self._warm and not busy and time.monotonic() - self.used_at > idle_seconds:
            self.end_warm()

    def make_snapshot(self) -> None:
        """Have the snapshot of its present key made; `making` says whether that is at work."""
        self.wants_snapshot = False
        self.awaken(self._snapshot, self.cannot_be_loaded)

    def _start(self) -> None:
        given = {"environ": dict(self.environ), "location": self.name}
        self._has_loaded, self._loads, self._started_at = False, False, time.monotonic()
        self._warm = self.zygote.fork("location", self.name, self.cell.user, given, self._hear, self._warm_ended)

    def _hear(self, peer: Peer, fields: Mapping[str, Any]) -> None:
        match fields.get("is"):
            case "ready" if peer is self._warm:
                self._has_loaded, self._loads, self._lost = True, bool(fields.get("loaded")), 0
                waiting, self._waiting = self._waiting, []
                for then, _ in waiting:
                    then()
                if not self._is_proven and self.making is None:
                    self._snapshot()  # whether it is what the image holds
            case "unforkable" if peer is self._warm:
                self.end_warm()
                self._refuse(str(fields.get("why")))
                self.on_unforkable(self, str(fields.get("why")))
            case "forked":
                if (forked := self._by_number.pop(int(fields["id"]), None)) and forked.pid is None:
                    self.loop.numbered(forked, int(fields["pid"]))
            case "ended" if any(forked.pid == fields["pid"] for forked in self.forks):
                self.loop.ended(int(fields["pid"]), int(fields["code"]))

    def _warm_ended(self, peer: Peer) -> None:
        if peer is not self._warm:
            return  # it was let end
        self._warm, self._has_loaded = None, False
        if peer.pid is None and self._waiting and self._lost < _MOST_LOST:  # the zygote ended before it had forked it
            self._lost += 1
            self._start()
            return
        self.tell(f"{self.name}: its process ended with {peer.code}")
        self._refuse(f"its process ended with {peer.code}")

    def _refuse(self, why: str) -> None:
        waiting, self._waiting = self._waiting, []
        for _, otherwise in waiting:
            otherwise(why)

    def _snapshot(self) -> None:
        key, temporary = str(self.key), self.folder / f".{self.key}.{next(_numbers)}"
        loads, is_written = self._loads, False
        try:
            file = self._open(temporary)
        except OSError as error:
            self.cannot_be_loaded(f"its snapshot cannot be written: {error.strerror}")
            return

        def hear(peer: Peer, fields: Mapping[str, Any]) -> None:
            nonlocal is_written
            is_written = is_written or fields.get("is") == "written"

        def ended(peer: Peer) -> None:
            self.making = None
            if self.snapshot is None:  # the first after a start: nobody has asked for it yet
                self.used_at = -math.inf
            if is_written:  # not by how it ended: the warm process may be too busy to say so
                self._take_over(temporary, key, loads)
                return
            temporary.unlink(missing_ok=True)
            ending = "could not be started" if peer.code is None else f"ended with {peer.code}"
            self.cannot_be_loaded(f"its process {ending}")

        self.making = self.fork({"do": "snapshot"}, [file], hear, ended)
        os.close(file)

    def cannot_be_loaded(self, why: str) -> None:
        """Serve a load error that says so, as a location shows one of its own, and try it again later."""
        self._again_at = time.monotonic() + _AGAIN_SECONDS
        if self.snapshot and self._served_key == self.key:
            self.tell(f"{self.name}: its definitions cannot be loaded now: {why}")
            self._done()  # what is served was made of the same
            return
        temporary = self.folder / f".{self.key}.{next(_numbers)}"
        told = load_error(f"{self.name}: its definitions cannot be loaded: {why}")
        try:
            file = self._open(temporary)
            try:
                write_entries(file, {LIST_REPOSITORIES: protobuf.string(1, told)})
            finally:
                os.close(file)
        except OSError as error:  # a full disk: what is served stays
            with contextlib.suppress(OSError):
                temporary.unlink()
            self.tell(f"{self.name}: its definitions cannot be loaded: {why}; {self.folder}: {error.strerror}")
            self._done()
            return
        self._take_over(temporary, str(self.key), False)

    def _take_over(self, temporary: Path, key: str, loads: bool) -> None:
        if key != self.key:  # there is a newer version already
            temporary.unlink(missing_ok=True)
            self.wants_snapshot = True
            return
        # A load error may be over when the same is loaded once more, so no later start takes it.
        file = self.folder / (f"{key}.zip" if loads and not self.is_passing else f"{key}.passing.zip")
        temporary.rename(file)
        self._is_proven = self._publish(file)
        if not self._is_proven:
            file.unlink()
            self._again_at = time.monotonic() + _AGAIN_SECONDS
            self._done()

    def _publish(self, file: Path) -> bool:
        """Serve a snapshot; whether that can be: a tenant's process may have written anything into it."""
        try:
            content = file_digest(file)
        except (OSError, ValueError) as error:
            self.tell(f"{self.name}: a snapshot cannot be served: {error}")
            return False
        before, self.snapshot, self._served_key = self.snapshot, file, self.key
        digest = hashlib.sha256(f"{self.key}:{content}".encode()).hexdigest()
        self.server_id = f"{self.name}-{digest[:24]}"
        self._done()
        for old in self.folder.glob("*.zip"):
            if old not in (file, before):
                with contextlib.suppress(OSError):
                    old.unlink()
        return True

    def _done(self) -> None:
        """Tell who wanted it loaded anew."""
        afterwards, self._afterwards = self._afterwards, []
        for call in afterwards:
            call()

    def _open(self, path: Path) -> int:
        with as_group(self.front_group):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
