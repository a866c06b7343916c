"""A location's server as the front knows it: where calls go that need the tenant's code.

One connection, many calls at a time, each answered in its own time. A server that ends fails what it had not answered;
one that nobody calls for a while is closed, and asked for anew when somebody does. The other side is
`location_server.py`; a server of a tenant's own Python speaks gRPC (`StockUpstream`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc

from dagster_apollo.code_host.calls import CALLS, SERVICE
from dagster_apollo.execution import channel

# What a call may have and return; Dagster's own limit for servers that are not told otherwise is half of it.
LARGEST_MESSAGE_BYTES = 128 << 20


class UpstreamGone(Exception):
    """The server ended before it had answered."""


class NotReached(UpstreamGone):
    """The server had ended before it was asked, so that it did nothing."""


class CallFailed(Exception):
    """The server could not answer; what it said of it."""


class Upstream(Protocol):
    """A tenant's server."""

    def call(self, method: str, request: bytes, timeout_seconds: float | None) -> Iterator[bytes]:
        """Ask it; the parts of its answer.

        Raises:
            UpstreamGone: it ended before the answer was whole.
            CallFailed: it could not answer.
            TimeoutError: it did not answer in time.
        """

    def close(self) -> None:
        """Let it end."""

    @property
    def idle_seconds(self) -> float:
        """For how long nobody has called it; 0 while somebody does."""

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""


class LocationServer:
    """A server that was forked from its location's warm process.

    Args:
        connection: to it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[tuple[str, bytes]]] = {}
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._gone = False
        self._used_at = time.monotonic()
        threading.Thread(target=self._read, name="upstream", daemon=True).start()

    @property
    def is_gone(self) -> bool:
        return self._gone

    @property
    def idle_seconds(self) -> float:
        with self._lock:
            return 0.0 if self._waiting else time.monotonic() - self._used_at

    def call(self, method: str, request: bytes, timeout_seconds: float | None) -> Iterator[bytes]:
        answers: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        with self._lock:
            if self._gone:
                raise NotReached
            number = next(self._numbers)
            self._waiting[number] = answers
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        try:
            try:
                with self._sending:
                    channel.send(self._connection, {"id": number, "method": method}, request)
            except OSError:
                raise NotReached from None
            while True:
                left = None if end is None else max(end - time.monotonic(), 0.001)
                try:
                    kind, content = answers.get(timeout=left)
                except queue.Empty:
                    raise TimeoutError from None
                if kind == "part":
                    yield content
                elif kind == "end":
                    return
                elif kind == "error":
                    raise CallFailed(content.decode(errors="replace"))
                else:
                    raise UpstreamGone
        finally:
            with self._lock:
                self._waiting.pop(number, None)
                self._used_at = time.monotonic()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        while True:
            try:
                received = channel.receive(self._connection)
            except (OSError, ValueError):
                received = None
            if received is None:
                break
            fields, content = received
            told: Any = fields.get("told", "")
            with self._lock:
                waiting = self._waiting.get(fields.get("id", -1))
            if waiting:
                waiting.put((str(fields.get("is")), str(told).encode() if told else content))
        with self._lock:
            self._gone = True
            for each in self._waiting.values():
                each.put(("gone", b""))
        self._connection.close()


class StockUpstream:
    """Dagster's own server, on a unix socket in a folder that its tenant may write in.

    Connected to is the socket that is there now, whatever its name leads to later: a link to another tenant's server
    would be called as if it were this one's.

    Args:
        path: its socket's.
        user: whose it has to be; None: that is not looked at.

    Raises:
        NotReached: it is not there, or it is something else.
    """

    def __init__(self, path: Path, user: int | None) -> None:
        limits: list[tuple[str, int]] = [("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES)]
        limits += [("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES)]
        limits += [("grpc.use_local_subchannel_pool", 1)]  # another's connection is not to be found by a number
        self._lock, self._calls, self._used_at = threading.Lock(), 0, time.monotonic()
        self._socket = _open_socket(path, user) if sys.platform == "linux" else None
        target = path if self._socket is None else f"/proc/self/fd/{self._socket}"
        self._channel = grpc.insecure_channel(f"unix:{target}", options=limits)

    @property
    def is_gone(self) -> bool:
        return False

    @property
    def idle_seconds(self) -> float:
        with self._lock:
            return 0.0 if self._calls else time.monotonic() - self._used_at

    def call(self, method: str, request: bytes, timeout_seconds: float | None) -> Iterator[bytes]:
        with self._lock:
            self._calls += 1
        try:
            yield from self._call(method, request, timeout_seconds)
        finally:
            with self._lock:
                self._calls -= 1
                self._used_at = time.monotonic()

    def _call(self, method: str, request: bytes, timeout_seconds: float | None) -> Iterator[bytes]:
        try:
            if CALLS[method].streams:
                yield from self._channel.unary_stream(SERVICE + method)(request, timeout=timeout_seconds)
            else:
                yield self._channel.unary_unary(SERVICE + method)(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise UpstreamGone from None
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError from None
            raise CallFailed(str(error.details())) from None

    def close(self) -> None:
        self._channel.close()
        with self._lock:
            held, self._socket = self._socket, None
        if held is not None:
            os.close(held)


def _open_socket(path: Path, user: int | None) -> int:
    try:
        held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise NotReached from None
    found = os.fstat(held)
    if not stat.S_ISSOCK(found.st_mode) or user not in (None, found.st_uid):
        os.close(held)
        raise NotReached
    return held
