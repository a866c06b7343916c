"""Answers the calls that need a tenant's code: Dagster's own servicer, behind a socket that only the front has.

In a fork of the location's warm process. Calls come as bytes with their method's name, each is answered in a thread,
and several may be at work at once. When the front closes the socket the process ends. The other side is
`upstreams.py`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Any

from dagster_apollo.code_host.dagster_internals import (
    DagsterApiServer,
    LoadedRepositories,
    Message,
    SerializableErrorInfo,
    request_classes,
    servicer,
)
from dagster_apollo.execution import channel


def serve(
    connection: socket.socket, location: str, module: str, loaded: LoadedRepositories | SerializableErrorInfo
) -> int:
    """Answer until the other side closes; the exit code."""
    Answers(connection, servicer(loaded, module, location, location)).run()
    return 0


class Answers:
    """One connection's calls.

    Args:
        connection: to the front.
        servicer: what answers.
    """

    def __init__(self, connection: socket.socket, servicer: DagsterApiServer) -> None:
        self._connection, self._servicer = connection, servicer
        self._requests = request_classes()
        self._sending = threading.Lock()

    def run(self) -> None:
        """Take calls until there are no more."""
        while True:
            try:
                received = channel.receive(self._connection)
            except (OSError, ValueError):
                return
            if received is None:
                return
            # A thread that hangs must not keep the process from ending.
            threading.Thread(target=self._answer, args=received, daemon=True).start()

    def _answer(self, asked: Mapping[str, Any], content: bytes) -> None:
        number, method = asked["id"], asked["method"]
        try:
            reply = getattr(self._servicer, method)(self._requests[method].FromString(content), None)
            for part in [reply] if isinstance(reply, Message) else reply:
                self._send({"id": number, "is": "part"}, part.SerializeToString())
            self._send({"id": number, "is": "end"})
        except Exception as error:
            self._send({"id": number, "is": "error", "told": f"{type(error).__name__}: {error}"})

    def _send(self, fields: Mapping[str, Any], content: bytes = b"") -> None:
        with self._sending, contextlib.suppress(OSError):  # when the front is gone, `run` ends
            channel.send(self._connection, fields, content)
