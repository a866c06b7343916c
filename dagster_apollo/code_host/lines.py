"""Messages between the code host's own processes: fields as JSON, and open descriptors beside them.

A line is one end of a pair of connected sockets, so nobody else can reach it, and its end tells that the process on
the other side is gone. The first process reads and writes without waiting for anybody; the others may wait. What is
said is the affair of who says it; what tenants' servers answer with (large, no descriptors) goes over
`execution/channel.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_HEADER = struct.Struct(">IB")  # size of the text, number of descriptors
# Above any environment and any run's arguments. Who reads says so where it takes more, as a report of all tables.
LARGEST_BYTES = 1 << 20
_DESCRIPTORS = 4
_CHUNK = 1 << 16
# Linux: a program that is started meanwhile must not be given them.
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


@dataclass(frozen=True)
class Message:
    """What came over a line.

    Attributes:
        fields: what is said.
        descriptors: what came along; whoever takes the message closes them.
    """

    fields: Mapping[str, Any]
    descriptors: tuple[int, ...] = ()

    def close(self) -> None:
        """Give up what came along."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class LineClosed(Exception):
    """The other side is gone, or has said what is no message."""


class Line:
    """One end.

    Args:
        connection: a connected stream socket; it is the line's from now on.
        waits: whether reading and writing wait for the other side.
        largest_bytes: what one message may have.
        takes_descriptors: whether any may come; what comes unasked is dropped by the system.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        waits: bool = True,
        largest_bytes: int = LARGEST_BYTES,
        takes_descriptors: bool = False,
    ) -> None:
        connection.setblocking(waits)
        self._connection, self._waits = connection, waits
        self._largest, self._takes_descriptors = largest_bytes, takes_descriptors
        self._read = bytearray()
        self._descriptors: deque[int] = deque()
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()

    def fileno(self) -> int:
        return self._connection.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether the other side has not yet taken all that it was told."""
        return bool(self._unsent)

    def send(self, fields: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Say something. The descriptors stay the caller's, who may close them at once.

        Raises:
            LineClosed: the other side is gone.
        """
        text = json.dumps(fields).encode()
        held = tuple(os.dup(descriptor) for descriptor in descriptors)
        self._unsent.append((memoryview(_HEADER.pack(len(text), len(held)) + text), held))
        self.flush()

    def flush(self) -> None:
        """Send what the other side now takes.

        Raises:
            LineClosed: the other side is gone.
        """
        while self._unsent:
            content, descriptors = self._unsent[0]
            try:
                sent = socket.send_fds(self._connection, [content], descriptors) if descriptors else None
                sent = self._connection.send(content) if sent is None else sent
            except BlockingIOError:
                return
            except OSError as error:
                raise LineClosed(error.strerror or "cannot be written to") from None
            for descriptor in descriptors:
                os.close(descriptor)
            if sent < len(content):
                self._unsent[0] = (content[sent:], ())
            else:
                self._unsent.popleft()

    def receive(self) -> Message | None:
        """The next message. On a line that does not wait: None when it has not come whole.

        Raises:
            LineClosed: the other side is gone, or what it says is no message.
        """
        while True:
            if message := self._whole():
                return message
            try:
                content, descriptors = self._take()
            except BlockingIOError:
                return None
            except OSError as error:
                raise LineClosed(error.strerror or "cannot be read") from None
            self._descriptors.extend(descriptors)
            if not content:
                raise LineClosed("the other side is gone")
            self._read += content

    def close(self) -> None:
        """Close this end."""
        for descriptor in (*self._descriptors, *(each for _, held in self._unsent for each in held)):
            os.close(descriptor)
        self._descriptors.clear()
        self._unsent.clear()
        self._connection.close()

    def _take(self) -> tuple[bytes, list[int]]:
        if not self._takes_descriptors:
            return self._connection.recv(_CHUNK), []
        content, descriptors, _, _ = socket.recv_fds(self._connection, _CHUNK, _DESCRIPTORS, _CLOSE_ON_EXEC)
        return content, descriptors

    def _whole(self) -> Message | None:
        if len(self._read) < _HEADER.size:
            return None
        size, count = _HEADER.unpack_from(self._read)
        if size > self._largest:
            raise LineClosed(f"a message of {size} bytes, and {self._largest} are the most")
        if len(self._read) < _HEADER.size + size:
            return None
        text = bytes(self._read[_HEADER.size : _HEADER.size + size])
        del self._read[: _HEADER.size + size]
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise LineClosed("what came is no message") from None
        if not isinstance(fields, dict) or count > len(self._descriptors):
            raise LineClosed("what came is no message")
        return Message(fields, tuple(self._descriptors.popleft() for _ in range(count)))


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, with room for an environment before anybody reads."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_BYTES)
    return ours, theirs
