"""Answers the calls that need a tenant's code: Dagster's own servicer, behind a socket that only the front has.

In a fork of the location's warm process. Calls come as bytes with their method's name, each is answered in a thread,
and several may be at work at once. When the front closes the socket the process ends. The other side is
`upstreams.py`. What is asked before a run of some assets is passed on to the warm process: the run is forked from it.
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
from dagster_apollo.code_host.lines import LARGEST_BYTES, Line, LineClosed
from dagster_apollo.execution import channel


def serve(
    connection: socket.socket,
    location: str,
    module: str,
    loaded: LoadedRepositories | SerializableErrorInfo,
    warm: Line,
) -> int:
    """Answer until the other side closes; the exit code."""
    Answers(connection, servicer(loaded, module, location, location), warm).run()
    return 0


class Answers:
    """One connection's calls.

    Args:
        connection: to the front.
        servicer: what answers.
        warm: to the warm process; does not wait for it.
    """

    def __init__(self, connection: socket.socket, servicer: DagsterApiServer, warm: Line) -> None:
        self._connection, self._servicer, self._warm = connection, servicer, warm
        self._requests = request_classes()
        self._sending, self._passing_on = threading.Lock(), threading.Lock()

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
            request = self._requests[method].FromString(content)
            if method == "ExternalPipelineSubsetSnapshot":
                self._pass_on(request.serialized_pipeline_subset_snapshot_args)
            reply = getattr(self._servicer, method)(request, None)
            for part in [reply] if isinstance(reply, Message) else reply:
                self._send({"id": number, "is": "part"}, part.SerializeToString())
            self._send({"id": number, "is": "end"})
        except Exception as error:
            self._send({"id": number, "is": "error", "told": f"{type(error).__name__}: {error}"})

    def _pass_on(self, arguments: str) -> None:
        """Have the warm process make the same, beside this one; where it is busy the run makes it."""
        with self._passing_on, contextlib.suppress(LineClosed):
            self._warm.flush()
            if not self._warm.has_unsent and len(arguments) < LARGEST_BYTES // 2:  # as JSON in JSON
                self._warm.send({"arguments": arguments})

    def _send(self, fields: Mapping[str, Any], content: bytes = b"") -> None:
        with self._sending, contextlib.suppress(OSError):  # when the front is gone, `run` ends
            channel.send(self._connection, fields, content)
