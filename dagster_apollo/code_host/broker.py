"""The broker of containers as the code host's first process knows it: who may ask, where, and the child that answers.

Which tenant has which container is read here from `tenant.yaml`, before any tenant's process runs. The sockets are made
here too and outlive the child, so that a request waits while it is started again. The child is `broker_process.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from dagster_apollo.code_host.walls import Cell
from dagster_apollo.dbt.workspace import Places, tenant_place
from dagster_apollo.errors import HostError, Problem, ProblemsError
from dagster_apollo.execution.brokered import BROKER_VARIABLE
from dagster_apollo.execution.container import ContainerPlace
from dagster_apollo.settings import read
from dagster_apollo.tenant import Tenant, read_config

# What says which engine is used, and the id by which a container knows its own.
_ENGINE_PREFIX, _OWN_NAME = "DOCKER_", "HOSTNAME"
_AGAIN_SECONDS = 1.0
PLACE = TypeAdapter(ContainerPlace)
# Its containers have 20 s to stop.
STOP_SECONDS = 45.0


def container_places(environ: Mapping[str, str], places: Places, cells: Sequence[Cell]) -> dict[str, ContainerPlace]:
    """The place of each tenant whose commands run in containers.

    A tenant of which this cannot be told is left out: its own process finds the same, and says it.

    Args:
        environ: all tenants' variables.
        places: the folders.
        cells: the tenants.
    """
    found = {}
    for cell in cells:
        folder = places.tenants_dir / cell.name
        config, problems = read_config(folder, cell.name)
        # Nothing else of the folder is read here: what a project holds is for the tenant's own process.
        tenant = Tenant(cell.name, folder, folder, {}, config)
        with contextlib.suppress(ProblemsError):
            values = read(environ, cell.name, tenant.connection_settings())
            place = None if problems else tenant_place(tenant, values, replace(places, state_dir=cell.folder))
            if place:
                user = None if cell.user is None else f"{cell.user}:{cell.user}"
                found[cell.name] = replace(place, user=user, locks_dir=_folder(places) / "locks" / cell.name)
    return found


def _folder(places: Places) -> Path:
    return places.state_dir / "containers"


@dataclass
class Broker:
    """The broker's child process and the sockets that it answers on.

    Attributes:
        told: what the child is told, as JSON: the variables that say which engine is used, and who may ask for what.
        found: the places of the tenants that have containers.
        sockets: theirs.
    """

    told: bytes = field(repr=False)
    found: Mapping[str, ContainerPlace]
    sockets: Mapping[str, socket.socket]
    tell: Callable[[str], None]
    process: subprocess.Popen[bytes] | None = None
    _due_at: float = 0.0

    @classmethod
    def open(
        cls,
        environ: Mapping[str, str],
        places: Places,
        cells: Sequence[Cell],
        found: Mapping[str, ContainerPlace],
        tell: Callable[[str], None],
    ) -> Broker:
        """Make the sockets, each for one tenant's group alone. Call it before any thread is started.

        Raises:
            HostError: one cannot be made.
        """
        asking = [cell for cell in cells if cell.name in found]
        folder = _folder(places)
        engine = {
            name: value for name, value in environ.items() if name.startswith(_ENGINE_PREFIX) or name == _OWN_NAME
        }
        try:
            if asking:
                folder.mkdir(exist_ok=True)
                folder.chmod(0o711)
            sockets = {cell.name: _listen(cell, folder / f"{cell.name}.sock") for cell in asking}
        except OSError as error:
            remedy = "Check APOLLO_STATE_DIR: a socket's path has at most 107 bytes."
            raise HostError([Problem(str(folder), f"cannot hold sockets: {error.strerror or error}", remedy)]) from None
        told = [
            {
                "descriptor": sockets[cell.name].fileno(),
                "user": cell.user,
                "folder": str(places.tenants_dir / cell.name),
                "place": PLACE.dump_python(found[cell.name], mode="json"),
            }
            for cell in asking
        ]
        return cls(json.dumps({"engine": engine, "tenants": told}).encode(), found, sockets, tell)

    def environ_of(self, tenant: str) -> dict[str, str]:
        """What a tenant's process is told of it."""
        found = self.sockets.get(tenant)
        return {BROKER_VARIABLE: found.getsockname()} if found else {}

    def look_after(self) -> None:
        """Start it where it is needed and not there."""
        if self.sockets and self.process is None and time.monotonic() >= self._due_at:
            self._start()

    def ended(self, pid: int, status: int) -> bool:
        """Take note that a process has ended; whether it was this one."""
        if self.process is None or self.process.pid != pid:
            return False
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.tell(f"the broker of containers ended with {self.process.returncode}; it is started again")
        self.process, self._due_at = None, time.monotonic() + _AGAIN_SECONDS
        return True

    def stop(self) -> None:
        """Have every container stopped, and end."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _start(self) -> None:
        descriptors = [listener.fileno() for listener in self.sockets.values()]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dagster_apollo.code_host.broker_process"],
                stdin=subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
                cwd="/",
                start_new_session=True,
                pass_fds=descriptors,
            )
        except OSError as error:
            self.tell(f"the broker of containers cannot be started: {error.strerror}")
            self._due_at = time.monotonic() + _AGAIN_SECONDS
            return
        assert self.process.stdin is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # it has ended: that is heard of elsewhere
            self.process.stdin.write(self.told)
            self.process.stdin.close()


def _listen(cell: Cell, path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    # The group is that of who makes it, as with a folder: root without CHOWN cannot give it away.
    mask = os.umask(0o117 if cell.user is not None else 0o177)
    try:
        if cell.user is not None:
            os.setegid(cell.user)
        listener.bind(str(path))
    finally:
        if cell.user is not None:
            os.setegid(0)
        os.umask(mask)
    listener.listen(64)
    return listener
