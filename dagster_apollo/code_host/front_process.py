"""The front as the first process knows it: its user, what it is told, what it asks; started again when it ends.

It keeps nothing that would be missed: what it is told it is told again, and runs are known here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster_apollo.code_host.lines import Line, pair
from dagster_apollo.code_host.processes import Loop, Peer, Say
from dagster_apollo.code_host.zygote_process import bare_environment

_AGAIN_SECONDS = 1.0


@dataclass(eq=False)
class Front:
    """The process that webserver and daemon call.

    Attributes:
        loop: that its line is listened to in.
        bind, port: where it listens.
        authorization: what its callers present.
        idle_seconds: after which it lets go of a tenant's server.
        user: whose it is; None: this process's own.
        groups: those of the tenants whose own servers it reaches through the file system.
        on_request: given what it asks, and what says the answer: to the process that asked, or to nobody once that is
            gone, since the next one has questions of the same numbers.
        tell: one line of the log.
    """

    loop: Loop
    bind: str
    port: int
    authorization: str = field(repr=False)
    idle_seconds: float
    user: int | None
    groups: Sequence[int]
    on_request: Callable[[Mapping[str, Any], Say], None]
    tell: Callable[[str], None]
    is_serving: bool = field(default=False, init=False)
    _peer: Peer | None = field(default=None, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _due_at: float = field(default=0.0, init=False)
    _locations: Sequence[Mapping[str, Any]] = field(default=(), init=False)
    _known: Mapping[str, str | None] = field(default_factory=dict, init=False)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def look_after(self) -> None:
        """Start it where it is not there."""
        if self._process is None and time.monotonic() >= self._due_at:
            self._start()

    def know(self, locations: Sequence[Mapping[str, Any]]) -> None:
        """Tell it what there is, where that has changed."""
        if list(locations) != list(self._locations):
            self._locations = list(locations)
            self.say({"is": "locations", "locations": self._locations})

    def serves(self, name: str, server_id: str | None) -> bool:
        """Whether it answers for this version of a location by now."""
        return self.is_serving and server_id is not None and self._known.get(name) == server_id

    def say(self, fields: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Tell it something."""
        if self._peer:
            self._peer.say(fields, descriptors)

    def ended(self, pid: int, status: int) -> bool:
        """Take note that a process has ended; whether it was this one."""
        if self._process is None or self._process.pid != pid:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._due_at != float("inf"):
            if self._process.returncode:
                self.tell(f"the front ended with {self._process.returncode}; it is started again")
            self._due_at = time.monotonic() + _AGAIN_SECONDS
        self._process, self.is_serving, self._known = None, False, {}
        if self._peer and self._peer.gone_at is None:
            self.loop.close(self._peer)
        self._peer = None
        return True

    def admit(self, group: int) -> None:
        """Have it reach what a tenant's group may: it is started again, since groups are given to a process once."""
        self.groups = [*self.groups, group]
        self._due_at = 0.0
        if self._peer:
            self.loop.close(self._peer)

    def stop(self) -> None:
        """Let it end."""
        self._due_at = float("inf")
        if self._peer:
            self.loop.close(self._peer)

    def _start(self) -> None:
        ours, theirs = pair()
        identity: dict[str, Any] = {}
        if self.user is not None:
            identity = {"user": self.user, "group": self.user, "extra_groups": tuple(self.groups)}
        command = [sys.executable, "-m", "dagster_apollo.code_host.front", str(theirs.fileno())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env=bare_environment(),
                cwd="/",
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                umask=0o077,
                **identity,
            )
        except OSError as error:
            self.tell(f"the front cannot be started: {error.strerror}")
            self._due_at = time.monotonic() + _AGAIN_SECONDS
            ours.close()
            return
        finally:
            theirs.close()
        self._peer = self.loop.add(Peer("front", Line(ours, waits=False), self._hear, lambda peer: None))
        told = {"bind": self.bind, "port": self.port, "authorization": self.authorization}
        self.say({**told, "idle_seconds": self.idle_seconds})
        if self._locations:  # nothing yet is not none: callers wait for what it will be told
            self.say({"is": "locations", "locations": list(self._locations)})

    def _hear(self, peer: Peer, fields: Mapping[str, Any]) -> None:
        match fields.get("is"):
            case "serving":
                self.is_serving = True
            case "knows":
                self._known = fields["ids"]
            case _:
                self.on_request(fields, peer.say)
