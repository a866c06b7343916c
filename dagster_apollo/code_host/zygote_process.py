"""The zygote as the first process knows it: started again when it ends, asked for forks.

What it forked goes on when it ends: such processes become the first process's children.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dagster_apollo.code_host.lines import LARGEST_BYTES, Line, pair
from dagster_apollo.code_host.processes import Loop, Peer

_AGAIN_SECONDS = 1.0


def bare_environment() -> dict[str, str]:
    """What a process of the code host's own is started with: nobody's variables."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "TZ") if name in os.environ}


class Zygote:
    """The process that forks tenants' processes.

    Args:
        loop: that its line and its forks' are listened to in.
        adapters: of dbt, that tenants build by: each costs memory, or each of their runs an import.
        tell: one line of the log.
    """

    def __init__(self, loop: Loop, adapters: Iterable[str], tell: Callable[[str], None]) -> None:
        self._loop, self._adapters, self._tell = loop, sorted(set(adapters)), tell
        self._numbers = itertools.count()
        self._asked: dict[tuple[Peer, int], Peer] = {}  # by whom, and the number of the fork
        self._unasked: list[tuple[Mapping[str, Any], Peer, socket.socket]] = []
        self._peer: Peer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._due_at = 0.0
        self.digest = ""

    @property
    def is_up(self) -> bool:
        """Whether it forks what prepares tenants; the rest waits there until it is loaded."""
        return self._peer is not None and self.digest != ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def look_after(self) -> None:
        """Start it where it is not there."""
        if self._process is None and time.monotonic() >= self._due_at:
            self._start()

    def ended(self, pid: int, status: int) -> bool:
        """Take note that a process has ended; whether it was this one."""
        if self._process is None or self._process.pid != pid:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._process, self._due_at = None, time.monotonic() + _AGAIN_SECONDS
        if self._peer and self._peer.gone_at is None:
            self._loop.close(self._peer)
        return True

    def fork(
        self,
        kind: str,
        name: str,
        user: int | None,
        given: Mapping[str, Any],
        on_message: Callable[[Peer, Mapping[str, Any]], None],
        on_end: Callable[[Peer], None],
        largest_bytes: int = LARGEST_BYTES,
    ) -> Peer:
        """Ask for a fork. What it is given, its environment among it, goes to it alone.

        Args:
            kind: what it is to be (`zygote.KINDS`).
            name: the tenant or location, for messages and `ps`.
            user: whose it is; None: this process's own.
            given: `environ`, and what its kind asks for.
            on_message, on_end: as in `Peer`.
            largest_bytes: what a message of its may have.
        """
        ours, theirs = pair()
        peer = self._loop.add(Peer(name, Line(ours, waits=False, largest_bytes=largest_bytes), on_message, on_end))
        self._ask({"id": next(self._numbers), "kind": kind, "name": name, "user": user}, peer, theirs)
        peer.say(given)
        return peer

    def _ask(self, fields: Mapping[str, Any], peer: Peer, theirs: socket.socket) -> None:
        if self._peer is None or self._peer.gone_at is not None:  # it is being started again
            self._unasked.append((fields, peer, theirs))
            return
        self._asked[self._peer, fields["id"]] = peer
        self._peer.say(fields, [theirs.fileno()])
        theirs.close()

    def stop(self) -> None:
        """Let it end."""
        self._due_at = float("inf")
        if self._peer:
            self._loop.close(self._peer)

    def _start(self) -> None:
        ours, theirs = pair()
        command = [sys.executable, "-m", "dagster_apollo.code_host.zygote", str(theirs.fileno()), *self._adapters]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env=bare_environment(),
                cwd="/",
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        except OSError as error:
            self._tell(f"the zygote cannot be started: {error.strerror}")
            self._due_at = time.monotonic() + _AGAIN_SECONDS
            ours.close()
            return
        finally:
            theirs.close()
        self._peer = self._loop.add(Peer("zygote", Line(ours, waits=False), self._hear, self._gone))
        unasked, self._unasked = self._unasked, []
        for each in unasked:
            self._ask(*each)

    def _hear(self, peer: Peer, fields: Mapping[str, Any]) -> None:
        match fields["is"]:
            case "up":
                self.digest = fields["digest"]
            case "forked":
                if forked := self._asked.pop((peer, fields["id"]), None):
                    self._loop.numbered(forked, fields["pid"])
            case "ended":
                self._loop.ended(fields["pid"], fields["code"])

    def _gone(self, peer: Peer) -> None:
        if self._due_at != float("inf"):
            self._tell("the zygote has ended; it is started again, and what it forked goes on")
        self._asked = {key: forked for key, forked in self._asked.items() if key[0] is not peer}
        if self._peer is peer:
            self._peer = None
