"""The code host's other processes as the first one knows them: a line to each, and one loop that waits for all.

A process is known to be gone by the end of its line, whoever its parent was; how it ended comes from whoever took it,
soon after. Nothing here knows what is said.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dagster_apollo.code_host.lines import Line, LineClosed, Message
from dagster_apollo.host.role import say

# So long its exit code is waited for, once its line has ended.
_CODE_SECONDS = 1.0
# Far above what any of them has to say at once: one that says more would be the only one that is heard.
_MOST_MESSAGES = 10_000


class Say(Protocol):
    """Tells a process something."""

    def __call__(self, fields: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None: ...


@dataclass(eq=False)
class Peer:
    """The process at the other end of a line.

    Attributes:
        name: for messages.
        line: ours to it.
        on_message: given each message; descriptors that came along are closed afterwards.
        on_end: called once, when its line has ended and its exit code is known, or does not come.
        pid: its number, once it is known.
        code: how it ended, once that is known.
        gone_at: when its line ended (monotonic, in seconds).
    """

    name: str
    line: Line
    on_message: Callable[[Peer, Mapping[str, Any]], None]
    on_end: Callable[[Peer], None]
    pid: int | None = None
    code: int | None = None
    gone_at: float | None = field(default=None, init=False)

    def say(self, fields: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Tell it something; when it is gone, that is heard of by its line's end."""
        if self.gone_at is None:
            try:
                self.line.send(fields, descriptors)
            except LineClosed:
                return


class Loop:
    """All lines of the first process, in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ending: list[Peer] = []
        self._by_pid: dict[int, Peer] = {}

    def add(self, peer: Peer) -> Peer:
        """Listen to a process from now on."""
        self._selector.register(peer.line, selectors.EVENT_READ, peer)
        return peer

    def close(self, peer: Peer) -> None:
        """Close its line, which ends a process that waits for it; its end is told as any other's."""
        if peer.gone_at is None:
            self._gone(peer)

    def numbered(self, peer: Peer, pid: int) -> None:
        """Take note of a process's number."""
        if pid not in self._by_pid:  # whoever tells it may be a tenant's
            peer.pid = pid
            self._by_pid[pid] = peer

    def ended(self, pid: int, code: int) -> bool:
        """Take note of how a process ended, whoever told it; whether it is one of these."""
        peer = self._by_pid.pop(pid, None)
        if peer:
            peer.code = code
        return peer is not None

    def turn(self, seconds: float) -> None:
        """Wait for messages, or the time, and take in what has come."""
        for key in self._selector.get_map().values():
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if key.data.line.has_unsent else 0)
            if key.events != wanted:
                self._selector.modify(key.fileobj, wanted, key.data)
        for key, events in self._selector.select(0.02 if self._ending else seconds):
            peer: Peer = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    peer.line.flush()
                for _ in range(_MOST_MESSAGES):
                    if peer.gone_at is not None or not (message := peer.line.receive()):
                        break
                    self._hear(peer, message)
                else:
                    raise LineClosed("it says more than anybody has to say")
            except LineClosed:
                if peer.gone_at is None:
                    self._gone(peer)
        self._tell_of_the_ended()

    def _hear(self, peer: Peer, message: Message) -> None:
        try:
            peer.on_message(peer, message.fields)
        except Exception as error:
            # A tenant's code may have written it: what it says must not end the process that serves all.
            say(f"{peer.name}: what it says cannot be acted on: {type(error).__name__}")
            raise LineClosed("it says what nobody understands") from None
        finally:
            message.close()

    def _gone(self, peer: Peer) -> None:
        peer.gone_at = time.monotonic()
        self._selector.unregister(peer.line)
        peer.line.close()
        self._ending.append(peer)

    def _tell_of_the_ended(self) -> None:
        now = time.monotonic()
        for peer in list(self._ending):
            if peer.code is not None or now - (peer.gone_at or 0.0) > _CODE_SECONDS:
                self._ending.remove(peer)
                if peer.pid is not None:
                    self._by_pid.pop(peer.pid, None)
                try:
                    peer.on_end(peer)
                except OSError as error:  # a full disk, no more processes: others are served nevertheless
                    say(f"{peer.name}: its end cannot be acted on: {error.strerror}")
