"""Containers for a tenant whose process may not speak to the engine: it asks the code host's broker over a socket.

The same interface as `docker_runner.py`. What a tenant can say is in `ContainerTask`; image, network, volumes and
limits are the broker's to know. The other side is `host/broker_process.py`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster_apollo.errors import ContainerError, Problem
from dagster_apollo.execution import channel
from dagster_apollo.execution.archives import unpack
from dagster_apollo.execution.container import ContainerTask

# The path of the socket that a tenant's process asks at; the code host sets it.
BROKER_VARIABLE = "APOLLO_CONTAINER_BROKER"
# Beyond the time that a container is given to end: an interrupt, and 20 s after it a kill.
_REMOVAL_SECONDS = 45.0
_REMEDY = "See the code host's log; it starts its broker again by itself."


class BrokeredRunner:
    """Asks the code host's broker.

    Args:
        tenant: who asks, for messages.
        address: the path of this tenant's socket.
    """

    def __init__(self, tenant: str, address: str) -> None:
        self._tenant, self._address = tenant, address

    @contextmanager
    def run(self, task: ContainerTask) -> Iterator[BrokeredContainer]:
        """A started container; see `ContainerRunner`."""
        paths = sorted(task.files)
        fields = {
            "words": task.words,
            "environment": dict(task.environment),
            "folder": task.folder,
            "files": [[path, len(task.files[path])] for path in paths],
            "folders": task.folders,
            "also_at": task.also_at,
            "made_of": task.made_of,
            "run_id": task.run_id,
        }
        with socket.socket(socket.AF_UNIX) as connection:
            with _broker_is_gone(self._tenant):
                connection.connect(self._address)
                channel.send(connection, fields, b"".join(task.files[path] for path in paths))
            started, _ = _answer(connection, self._tenant, "started")
            try:
                yield BrokeredContainer(connection, self._tenant, tuple(started["notes"]))
            finally:
                _wait_for_the_end(connection)


def _wait_for_the_end(connection: socket.socket) -> None:
    """Say that nobody waits any more, and wait until the container is gone: whoever leaves may rely on that.

    The broker sees the end of what is sent whatever it is at, also while it waits for a line that does not come.
    """
    end = time.monotonic() + _REMOVAL_SECONDS
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(1 << 16):
                return


class BrokeredContainer:
    """A container that the broker holds; see `RunningContainer`."""

    def __init__(self, connection: socket.socket, tenant: str, notes: tuple[str, ...]) -> None:
        self.returncode: int | None = None
        self.notes = notes
        self._connection, self._tenant = connection, tenant

    def lines(self) -> Iterator[str]:
        """What it prints, until it ends."""
        while True:
            answer, _ = self._ask("line", "ended", do="next")
            if answer["is"] == "ended":
                self.returncode = int(answer["returncode"])
                return
            yield str(answer["text"])

    def bring(self, inside: str, to: Path) -> bool:
        """Copy a file or a folder's content out."""
        answer, _ = self._ask("archive", "nothing", do="bring", inside=inside)
        if answer["is"] == "nothing":
            return False
        pieces = self._pieces()
        unpack(pieces, to)
        for _ in pieces:  # what follows an archive's end
            pass
        return True

    def _pieces(self) -> Iterator[bytes]:
        while True:
            answer, content = _answer(self._connection, self._tenant, "piece", "whole")
            if answer["is"] == "whole":
                return
            yield content

    def _ask(self, *expected: str, **fields: Any) -> tuple[dict[str, Any], bytes]:
        with _broker_is_gone(self._tenant):
            channel.send(self._connection, fields)
        return _answer(self._connection, self._tenant, *expected)


def _answer(connection: socket.socket, tenant: str, *expected: str) -> tuple[dict[str, Any], bytes]:
    """The broker's next message, of an expected kind.

    Raises:
        ContainerError: what the broker reports, or that it is gone.
    """
    with _broker_is_gone(tenant):
        received = channel.receive(connection)
    if received is None:
        raise _gone(tenant, "it closed the connection")
    fields, content = received
    if fields.get("is") == "error":
        raise ContainerError(fields["kind"], Problem(**fields["problem"]))
    if fields.get("is") not in expected:
        raise _gone(tenant, f"it answers {fields.get('is')!r}")
    return fields, content


@contextmanager
def _broker_is_gone(tenant: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise _gone(tenant, getattr(error, "strerror", None) or str(error)) from None


def _gone(tenant: str, told: str) -> ContainerError:
    where = f"containers of {tenant}"
    return ContainerError("no_engine", Problem(where, f"the code host's broker cannot be asked: {told}", _REMEDY))
