"""The WebSockets that are open, and whose: a subscription lives on after a logout unless its socket is closed.

Each is served through here, so that it can be closed from outside. A watch asks every few seconds whether each may
still be open: sessions end, roles change, the other copy of a webserver logs somebody out. Who may is `identify.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOGGER = logging.getLogger(__name__)
# RFC 6455 leaves 4000 to 4999 to applications; this is HTTP's 401 among them.
CLOSED_BY_US = 4401
_ASK_SECONDS = 5.0


@dataclass(eq=False)
class _Socket:
    owner: str
    may_stay: Callable[[], Awaitable[bool]]
    closing: asyncio.Event = field(default_factory=asyncio.Event)


class OpenSockets:
    """The open WebSockets of this process."""

    def __init__(self, ask_seconds: float = _ASK_SECONDS) -> None:
        self._ask_seconds = ask_seconds
        self._open: set[_Socket] = set()
        self._watch: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def close(self, owner: str) -> int:
        """Close all sockets of a session, by its id, or of a token, by its name; how many there were."""
        found = [socket for socket in self._open if socket.owner == owner]
        for socket in found:
            socket.closing.set()
        return len(found)

    async def serve(
        self,
        app: ASGIApp,
        connection: tuple[Scope, Receive, Send],
        owner: str,
        may_stay: Callable[[], Awaitable[bool]],
    ) -> None:
        """Serve a WebSocket by an application until either end closes it, or it is closed here.

        Args:
            connection: scope, receive and send, as ASGI gives them.
            owner: by what `close` finds it.
            may_stay: asked every few seconds.
        """
        scope, receive, send = connection
        socket = _Socket(owner, may_stay)
        ends = _Ends(socket, receive, send)
        self._open.add(socket)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._ask())
        try:
            await app(scope, ends.receive, ends.send)
        finally:
            self._open.discard(socket)
            ends.forget()

    async def _ask(self) -> None:
        while self._open:
            await asyncio.sleep(self._ask_seconds)
            for socket in list(self._open):
                if not socket.closing.is_set() and not await _stays(socket):
                    socket.closing.set()


async def _stays(socket: _Socket) -> bool:
    try:
        return await socket.may_stay()
    except Exception:
        _LOGGER.exception("nobody can say whether a WebSocket may stay open: it is closed")
        return False


class _Ends:
    """A connection's two ends: when the socket is to be closed, the client is told so, and so is the application."""

    def __init__(self, socket: _Socket, receive: Receive, send: Send) -> None:
        self._socket, self._receive, self._send = socket, receive, send
        self._pending: asyncio.Future[Any] | None = None
        self._is_over = False

    async def receive(self) -> Message:
        # Kept from call to call: a message that arrives while nobody waits is not lost.
        self._pending = self._pending or asyncio.ensure_future(self._receive())
        closing: asyncio.Future[Any] = asyncio.ensure_future(self._socket.closing.wait())
        try:
            await asyncio.wait([self._pending, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        if not self._socket.closing.is_set():
            message: Message = self._pending.result()
            self._pending = None
            return message
        if not self._is_over:
            self._is_over = True
            with contextlib.suppress(Exception):  # the client may be gone already
                await self._send({"type": "websocket.close", "code": CLOSED_BY_US, "reason": "the session has ended"})
        return {"type": "websocket.disconnect", "code": CLOSED_BY_US}

    async def send(self, message: Message) -> None:
        # What was on its way when the session ended is not sent any more.
        if not self._is_over and not self._socket.closing.is_set():
            await self._send(message)

    def forget(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
