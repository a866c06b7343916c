"""Containers of a test: a runner on the tests' engine, and what the engine still knows of it afterwards."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_apollo.execution.container import ContainerPlace
from dagster_apollo.execution.docker_runner import TENANT_LABEL, DockerRunner
from tests.support.container_engine import ContainerEngine

# Made for the tests' own engine, and pulled by any other: every image of ours begins with it.
IMAGE = "python:3.11-slim"


@dataclass(frozen=True)
class Containers:
    """What a test starts, and finds again.

    Attributes:
        engine: the engine.
        tenant: a name of the test's own, by which its containers are told from others'.
        folder: a folder of the test's own.
    """

    engine: ContainerEngine
    tenant: str
    folder: Path

    def runner(self, environ: Mapping[str, str] | None = None, **place: Any) -> DockerRunner:
        """A runner in a place of the test's image, with these fields of another value."""
        fields = {"image": IMAGE, "pull": "IF_NOT_PRESENT", "declared_in": "the test", **place}
        where = ContainerPlace(self.tenant, locks_dir=self.folder / "locks", **fields)
        return DockerRunner(where, environ or self.engine.environ)

    def left(self) -> list[str]:
        """The names of the test's containers, running or not."""
        named = self.engine.docker(
            "ps", "--all", "--filter", f"label={TENANT_LABEL}={self.tenant}", "--format", "{{.Names}}"
        )
        return named.split()

    def running(self) -> list[str]:
        """Those that run."""
        return self.engine.docker(
            "ps", "--filter", f"label={TENANT_LABEL}={self.tenant}", "--format", "{{.Names}}"
        ).split()

    def inspected(self, name: str) -> dict[str, Any]:
        """All that the engine tells of one."""
        told: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", name))
        return told[0]

    def inspected_image(self) -> dict[str, Any]:
        """All that the engine tells of the test's image."""
        told: list[dict[str, Any]] = json.loads(self.engine.docker("image", "inspect", IMAGE))
        return told[0]

    def remove(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for name in self.left():
            self.engine.run(["rm", "--force", "--volumes", name])

    @contextmanager
    def image(self, tag: str, dockerfile: str, *options: str) -> Iterator[str]:
        """An image that is built for the test, and removed."""
        self.engine.docker("build", "--quiet", "--tag", tag, *options, "-", stdin=dockerfile)
        try:
            yield tag
        finally:
            self.engine.run(["image", "rm", "--force", tag])


@dataclass
class EngineBehindARelay:
    """An engine's socket once more, which can be cut, or keep silent from the start or from some time on."""

    target: str
    path: Path
    silent: bool = False
    _open: list[socket.socket] = field(default_factory=list)
    _listener: socket.socket | None = None

    @contextmanager
    def listening(self) -> Iterator[EngineBehindARelay]:
        """Relay until left."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self.cut()

    @property
    def environ(self) -> dict[str, str]:
        """What makes a client use it."""
        return {"DOCKER_HOST": f"unix://{self.path}"}

    def cut(self) -> None:
        """Close every connection, and take no more."""
        for connection in [*self._open, *([self._listener] if self._listener else [])]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.path.unlink(missing_ok=True)

    def fall_silent(self) -> None:
        """Keep every connection, and pass on nothing any more."""
        self.silent = True

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(here)
            if not self.silent:
                threading.Thread(target=self._relay, args=(here,), daemon=True).start()

    def _relay(self, here: socket.socket) -> None:
        there = socket.socket(socket.AF_UNIX)
        there.connect(self.target.removeprefix("unix://"))
        self._open.append(there)
        with selectors.DefaultSelector() as ready, contextlib.suppress(OSError, ValueError):
            ready.register(here, selectors.EVENT_READ, there)
            ready.register(there, selectors.EVENT_READ, here)
            while True:
                readable = ready.select()
                while self.silent and here.fileno() >= 0:
                    time.sleep(0.05)
                for key, _ in readable:
                    part = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    key.data.sendall(part) if part else key.data.shutdown(socket.SHUT_WR)
                    if not part:
                        ready.unregister(key.fileobj)
                        if not ready.get_map():
                            return
