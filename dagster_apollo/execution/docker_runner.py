"""Containers on an engine that this process may speak to: created, started, read, stopped, removed.

A container lives as long as it is waited for: leaving the context removes it, a process that is killed takes it along
by the end of its standard input, and what is then left of it, stopped, goes before the next one starts. How the engine
is reached and how it refuses is `docker_client.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import docker.errors
from docker.types import LogConfig, Mount

from dagster_apollo.errors import ContainerError, Problem
from dagster_apollo.execution.abandoned import claimed, remove_abandoned
from dagster_apollo.execution.archives import pack, unpack
from dagster_apollo.execution.attached_output import lines_of
from dagster_apollo.execution.container import INSIDE, ContainerPlace, ContainerTask
from dagster_apollo.execution.docker_client import Engine, explained
from dagster_apollo.execution.docker_prerequisites import compared, require_network, required_image
from dagster_apollo.execution.process import STOP_TIMEOUT_SECONDS

TENANT_LABEL = "dagster-apollo.tenant"
RUN_LABEL = "dagster-apollo.run"
_FIRST_PROCESS = Path(__file__).with_name("first_process.py")
_START = f"{INSIDE}/{_FIRST_PROCESS.name}"
_SILENCE_SECONDS = 30.0
_ENDING_SECONDS = 10
_KILLED = 137  # 128 + SIGKILL


class DockerRunner:
    """Runs tasks in one place, each in a container of its own.

    Attributes:
        place: where.
    """

    def __init__(self, place: ContainerPlace, environ: Mapping[str, str]) -> None:
        """
        Args:
            place: where.
            environ: the variables that say which engine is used: DOCKER_HOST and those that belong to it.
        """
        self.place = place
        self._environ = environ

    @contextmanager
    def run(self, task: ContainerTask) -> Iterator[DockerContainer]:
        """A started container; see `ContainerRunner`."""
        place = self.place
        with Engine(self._environ, place.without_engine) as engine:
            remove_abandoned(place.locks_dir, lambda name: _remove_left(engine, name))
            image = required_image(engine, place)
            notes = compared(image, place, task.made_of)
            require_network(engine, place)
            name = f"apollo-{place.tenant}-{uuid.uuid4().hex[:12]}"
            with claimed(place.locks_dir, name) as claim:
                attached: socket.socket | None = None
                try:
                    linked = {variable: str(place.image_folders[variable]) for variable in _own_folders(image, place)}
                    variables = {**place.environment, "HOME": INSIDE, **linked}
                    _create(engine, place, task, name, self._user(engine), self._mounts(engine), variables)
                    _put_files(engine, place, task, name, image)
                    attached = engine.attach(name)
                    with engine.refusals("start_refused", place.image, _START_REMEDY):
                        engine.client.api.start(name)
                    _tell_variables(engine, attached, task)
                    yield DockerContainer(engine, place, name, attached, notes)
                finally:
                    # The end of its input is its interrupt. Nobody reads its output any more, nor blocks it.
                    if attached:
                        _close(attached)
                    claim.removed = _end(engine, name)

    def _user(self, engine: Engine) -> str | None:
        if self.place.shared_folder is None:
            return None  # the image's
        return "0:0" if engine.rootless() else self.place.user or f"{os.getuid()}:{os.getgid()}"

    def _mounts(self, engine: Engine) -> list[Mount]:
        mounts = [_mount(volume) for volume in self.place.volumes]
        if shared := self.place.shared_folder:
            hostname = self._environ.get("HOSTNAME") or socket.gethostname()
            mounts.append(Mount(str(shared), _seen_by_engine(shared, engine.own_mounts(hostname)), "bind"))
        return mounts


class DockerContainer:
    """A running container; see `RunningContainer`."""

    def __init__(
        self, engine: Engine, place: ContainerPlace, name: str, attached: socket.socket, notes: tuple[str, ...]
    ) -> None:
        self.returncode: int | None = None
        self.notes = notes
        self._engine, self._place, self._name, self._attached = engine, place, name, attached
        self._deadline = time.monotonic() + place.timeout_seconds
        self._heard = time.monotonic()

    def lines(self) -> Iterator[str]:
        """What it prints, until it ends."""
        try:
            for line in lines_of(self._attached, self._look):
                self._heard = time.monotonic()
                yield line
        except OSError as error:
            raise self._engine.gone(error) from None
        self.returncode = self._ended()

    def bring(self, inside: str, to: Path) -> bool:
        """Copy a file or a folder's content out."""
        chunks = self.archive(inside)
        if chunks is None:
            return False
        unpack(chunks, to)
        return True

    def archive(self, inside: str) -> Iterator[bytes] | None:
        """A file or a folder of it as a tar file, in pieces; None where there is nothing."""
        try:
            chunks, _ = self._engine.client.api.get_archive(self._name, inside)
        except docker.errors.NotFound:
            return None
        except Exception as error:
            raise self._engine.gone(error) from None
        return self._pieces(chunks)

    def _pieces(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._engine.refusals("no_engine", self._engine.address, ""):
            yield from chunks

    def _look(self) -> None:
        now = time.monotonic()
        if now > self._deadline:
            limit = self._place.timeout_seconds
            remedy = f"Raise `timeout_seconds` in {self._place.declared_in}, or build less at once."
            raise self._error("out_of_time", f"ran longer than {limit} s and was stopped", remedy)
        if now - self._heard > _SILENCE_SECONDS:
            with self._engine.refusals("no_engine", self._engine.address, ""):
                self._engine.client.ping()
            self._heard = now

    def _ended(self) -> int:
        """The exit code, once the output has ended.

        An engine that goes down leaves us without output, and perhaps the container running.
        """
        with self._engine.refusals("killed", self._place.image, "Somebody removed its container: run it again."):
            code = int(self._engine.client.api.wait(self._name, timeout=_ENDING_SECONDS)["StatusCode"])
            state = self._engine.client.api.inspect_container(self._name)["State"]
        if code and state.get("OOMKilled"):
            limit = self._place.memory_mb
            had = f"needed more than its {limit} MB of memory" if limit else "needed more memory than the machine has"
            remedy = f"Raise `memory_mb` in {self._place.declared_in}, or lower dbt's `threads`."
            raise self._error("out_of_memory", f"{had} and was killed", remedy)
        if code == _KILLED:
            what = "was killed from outside (exit code 137, and not for its memory limit)"
            remedy = "See who stops containers on the engine's machine, and its kernel's log for a lack of memory."
            raise self._error("killed", what, remedy)
        return code

    def _error(self, kind: Any, what: str, remedy: str) -> ContainerError:
        return ContainerError(kind, Problem(f"a container of {self._place.image}", what, remedy))


_START_REMEDY = "The image needs `python3` on its PATH; its settings must be ones that the engine takes."


def _create(
    engine: Engine,
    place: ContainerPlace,
    task: ContainerTask,
    name: str,
    user: str | None,
    mounts: list[Mount],
    variables: Mapping[str, str],
) -> None:
    memory = f"{place.memory_mb}m" if place.memory_mb else None
    labels = {TENANT_LABEL: place.tenant, **({RUN_LABEL: task.run_id} if task.run_id else {})}
    try:
        with engine.refusals("start_refused", place.image, _START_REMEDY):
            engine.client.containers.create(
                place.image,
                list(task.words),
                entrypoint=["python3", "-I", "-S", _START],
                name=name,
                labels=labels,
                user=user,
                working_dir=task.folder,
                stdin_open=True,
                environment=dict(variables),
                mounts=mounts,
                network=place.network,
                # The machine's own services: Docker Desktop knows the name by itself.
                extra_hosts=None if place.network == "host" else {"host.docker.internal": "host-gateway"},
                mem_limit=memory,
                memswap_limit=memory,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
                log_config=LogConfig(type=LogConfig.types.NONE),  # the run's own log has it
            )
    except ContainerError as error:
        told = error.problems[0].what
        if any(word in told for word in ("mount", "volume", "bind source")):
            remedy = f"See `volumes` in {place.declared_in}: the paths are those of the engine's machine."
            raise ContainerError("volume_refused", Problem(place.image, told, remedy)) from None
        raise


def _put_files(engine: Engine, place: ContainerPlace, task: ContainerTask, name: str, image: Mapping[str, Any]) -> None:
    files = {**task.files, _START: _FIRST_PROCESS.read_bytes()}
    links = {str(place.image_folders[variable]): path for variable, path in _own_folders(image, place).items()}
    working_folder = (image.get("Config") or {}).get("WorkingDir") or "/"
    if task.also_at and task.also_at != working_folder:
        links[task.also_at] = working_folder
    with engine.refusals("start_refused", place.image, _START_REMEDY):
        engine.client.api.put_archive(name, "/", pack(files, task.folders, links))


def _own_folders(image: Mapping[str, Any], place: ContainerPlace) -> dict[str, str]:
    """Of the image's variables those that name a folder which is to be found elsewhere too."""
    variables = dict(entry.split("=", 1) for entry in (image.get("Config") or {}).get("Env") or () if "=" in entry)
    return {
        name: variables[name]
        for name, path in place.image_folders.items()
        if name not in place.environment and variables.get(name, str(path)) != str(path)
    }


def _tell_variables(engine: Engine, attached: socket.socket, task: ContainerTask) -> None:
    content = json.dumps(dict(task.environment)).encode()
    try:
        attached.sendall(len(content).to_bytes(8, "big") + content)
    except OSError as error:
        raise engine.gone(error) from None


def _mount(volume: str) -> Mount:
    source, inside, *mode = volume.split(":")
    return Mount(inside, source, "bind" if source.startswith("/") else "volume", read_only=mode == ["ro"])


def _seen_by_engine(folder: Path, mounts: list[Mapping[str, Any]]) -> str:
    """A folder of this process by its path on the engine's machine: another, when this process is in a container."""
    places = [mount for mount in mounts if PurePosixPath(folder).is_relative_to(mount["Destination"])]
    if not places:
        return str(folder)
    nearest = max(places, key=lambda mount: len(mount["Destination"]))
    return str(PurePosixPath(nearest["Source"]) / PurePosixPath(folder).relative_to(nearest["Destination"]))


def _close(attached: socket.socket) -> None:
    with contextlib.suppress(OSError):
        attached.shutdown(socket.SHUT_RDWR)
    attached.close()


def _end(engine: Engine, name: str) -> bool:
    """Wait for its orderly end, then remove it, running or not; whether it is gone: an engine may be, too."""
    removed = False
    try:
        with contextlib.suppress(Exception):
            engine.client.api.wait(name, timeout=STOP_TIMEOUT_SECONDS)
    finally:
        with contextlib.suppress(Exception):
            _remove(engine, name)
            removed = True
    return removed


def _remove_left(engine: Engine, name: str) -> None:
    with engine.refusals("start_refused", name, f"Remove what is left of it: `docker rm --force {name}`."):
        _remove(engine, name)


def _remove(engine: Engine, name: str) -> None:
    """Remove a container of ours; one that only has such a name stays."""
    try:
        if TENANT_LABEL in (engine.client.api.inspect_container(name)["Config"]["Labels"] or {}):
            engine.client.api.remove_container(name, force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if "already in progress" not in explained(error):
            raise
