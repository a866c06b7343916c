"""The process that speaks to the container engine for tenants that may not: `python -m … < what may be started`.

A child of the code host's first process and of the same user, without any tenant's secrets. What is started where is
told to it on standard input, from `tenant.yaml`; what runs there is all that a tenant can say, on a socket of its own.
Each request is a process, so that one that is large, stuck or broken ends alone. The tenant's side is
`execution/brokered.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dagster_apollo.code_host.broker import PLACE
from dagster_apollo.errors import ContainerError, Problem
from dagster_apollo.execution import channel
from dagster_apollo.execution.container import INSIDE, ContainerPlace, ContainerTask
from dagster_apollo.execution.docker_runner import DockerContainer, DockerRunner
from dagster_apollo.execution.process import end_with_parent
from dagster_apollo.host.role import say
from dagster_apollo.settings import prefix
from dagster_apollo.topology import ENGINE_SOCKET

# So long each piece of a task is waited for; what a tenant never sends would keep a process for nothing.
_PIECE_SECONDS = 60.0
# Beyond a container's own limit, which whoever reads its lines is told of in words.
_GRACE_SECONDS = 30
# One run of a tenant's dbt goes at a time; its other commands and runs of several locations come to a few.
MOST_AT_ONCE = 8
_TICK_SECONDS = 1.0
_ENDING_SECONDS = 40.0
_FIELDS = {"words", "environment", "folder", "files", "folders", "also_at", "made_of", "run_id"}
_PEER = struct.Struct("3i")  # pid, uid, gid: unix(7)


@dataclass(frozen=True)
class Asking:
    """A tenant that may have containers.

    Attributes:
        listener: where it asks.
        user: the only user who may; None: this process's.
        folder: the tenant's, which its container may show at the same path.
        place: what is started for it.
    """

    listener: socket.socket
    user: int | None
    folder: str
    place: ContainerPlace


@dataclass
class BrokerProcess:
    """Takes requests, each into a process of its own.

    Attributes:
        tenants: who may ask.
        engine: the variables that say which engine is used.
    """

    tenants: Sequence[Asking]
    engine: Mapping[str, str] = field(repr=False)
    _at_work: dict[int, str] = field(default_factory=dict)
    _stopping: bool = False

    def run(self) -> None:
        """Serve until SIGTERM, then have every container stopped."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's: the first process says when it is over
        by_listener = {tenant.listener: tenant for tenant in self.tenants}
        while not self._stopping:
            for listener in select.select(list(by_listener), [], [], _TICK_SECONDS)[0]:
                self._accept(by_listener[listener])
            self._reap()
        for pid in self._at_work:
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _ENDING_SECONDS
        while self._at_work and time.monotonic() < end:
            time.sleep(0.1)
            self._reap()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _accept(self, tenant: Asking) -> None:
        try:
            connection, _ = tenant.listener.accept()
        except OSError:  # it has gone again
            return
        with connection:
            name = tenant.place.tenant
            full = sum(other == name for other in self._at_work.values()) >= MOST_AT_ONCE
            pid = os.fork()
            if pid == 0:
                # Whatever happens, this copy never goes on with the parent's work.
                try:
                    end_with_parent()
                    _serve_one(connection, tenant, self.engine, full=full)
                    os._exit(0)
                except BaseException as error:
                    if not isinstance(error, _Ended):
                        say(f"{name}: a container's broker ended with {type(error).__name__}: {error}")
                finally:
                    os._exit(1)
            self._at_work[pid] = name

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self._at_work.pop(pid, None)


class _Ended(BaseException):
    """Told to end, or nobody waits any more: as an interrupt, it passes by whoever takes care of errors."""


def _serve_one(connection: socket.socket, tenant: Asking, engine: Mapping[str, str], *, full: bool) -> None:
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGALRM, _end)
    place = tenant.place
    try:
        _require_own(connection, tenant)
        if full:
            raise _refused(place, f"{MOST_AT_ONCE} containers of it run already", "Wait for them to end.")
        connection.settimeout(_PIECE_SECONDS)
        received = channel.receive(connection)
        if received is None:
            return
        task = task_of(*received, tenant)
        require_unmovable(place)
        require_engine(engine, place)
        connection.settimeout(None)
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        say(f"{place.tenant}: a container of {place.image}" + (f" for run {task.run_id}" if task.run_id else ""))
        with DockerRunner(place, engine).run(task) as container:
            signal.alarm(place.timeout_seconds + _GRACE_SECONDS)  # also of one whose lines nobody asks for
            channel.send(connection, {"is": "started", "notes": container.notes})
            try:
                _answer(connection, container)
            finally:
                signal.alarm(0)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what follows is the end already
    except ContainerError as error:
        fields = {"is": "error", "kind": error.kind, "problem": error.problems[0].as_dict()}
        with contextlib.suppress(OSError):
            channel.send(connection, fields)
    except (OSError, ValueError) as error:  # the tenant's side is gone, too slow, or says nothing of sense
        say(f"{place.tenant}: nobody waits for its container: {getattr(error, 'strerror', None) or error}")


def _answer(connection: socket.socket, container: DockerContainer) -> None:
    lines = container.lines()
    while (received := _next(connection)) is not None:
        asked, _ = received
        if asked.get("do") == "next":
            line = next(lines, None)
            if line is None:
                channel.send(connection, {"is": "ended", "returncode": container.returncode})
            else:
                channel.send(connection, {"is": "line", "text": line})
        elif asked.get("do") == "bring":
            _bring(connection, container, str(asked.get("inside")))
        else:
            return


def _next(connection: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    try:
        return channel.receive(connection)
    except ValueError:  # no message: as if it had gone
        return None


def _bring(connection: socket.socket, container: DockerContainer, inside: str) -> None:
    chunks = container.archive(inside)
    if chunks is None:
        channel.send(connection, {"is": "nothing"})
        return
    channel.send(connection, {"is": "archive"})
    for chunk in chunks:
        channel.send(connection, {"is": "piece"}, chunk)
    channel.send(connection, {"is": "whole"})


def task_of(fields: Mapping[str, Any], content: bytes, tenant: Asking) -> ContainerTask:
    """What a tenant asked for.

    Raises:
        ContainerError: it asks for what is not its to say, or what it says cannot be.
    """
    place = tenant.place
    if beyond := sorted(set(fields) - _FIELDS):
        remedy = f"What is started stands in tenants/{place.tenant}/tenant.yaml: `container`."
        raise _refused(place, f"asks for {', '.join(map(repr, beyond[:5]))}, which a task has not", remedy)
    try:
        return _task(fields, content, tenant.folder)
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(place, f"asks for what cannot be read: {error}", "See the code host's log.") from None


def _task(fields: Mapping[str, Any], content: bytes, own_folder: str) -> ContainerTask:
    words = _texts(fields["words"], "words")
    if not words:
        raise ValueError("no words")
    environment = dict(fields["environment"])
    _texts([*environment, *environment.values()], "environment")
    files, at = {}, 0
    for path, size in fields["files"]:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError("a file without a size")
        files[_inside(path)] = content[at : at + size]
        at += size
    if at != len(content):
        raise ValueError("files of another size than was said")
    folders = tuple(_inside(folder) for folder in fields["folders"])
    folder, made_of, run_id = (fields[name] for name in ("folder", "made_of", "run_id"))
    _texts([text for text in (folder, made_of, run_id) if text is not None], "text")
    if run_id is not None and not (len(run_id) <= 64 and run_id.replace("-", "").isalnum()):
        raise ValueError("no run's id")
    if (also_at := fields["also_at"]) not in (None, own_folder):
        raise ValueError("another folder than its own")
    return ContainerTask(words, environment, folder, files, folders, also_at, made_of, run_id)


def _texts(values: Any, name: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) and "\0" not in value for value in values):
        raise ValueError(f"{name} that are no texts")
    return tuple(values)


def _inside(path: Any) -> str:
    """A path below INSIDE: elsewhere, a volume that several containers share may be."""
    [text] = _texts([path], "paths")
    parts = PurePosixPath(text)
    if ".." in parts.parts or not parts.is_relative_to(INSIDE):
        raise ValueError(f"a path that is not below {INSIDE}")
    return str(parts)


def require_unmovable(place: ContainerPlace) -> None:
    """Refuse a shared folder that the tenant may exchange: for a link to the root of the engine's machine, at worst.

    Raises:
        ContainerError: it, or the folder above, belongs to somebody else than this process.
    """
    shared = place.shared_folder
    if shared is None or place.user is None:  # without walls the tenant is this process's own user
        return
    above, found = shared.parent.lstat(), shared.lstat()
    ours = os.geteuid()
    if (
        above.st_uid != ours
        or found.st_uid != ours
        or not stat.S_ISDIR(found.st_mode)
        or not above.st_mode & stat.S_ISVTX
    ):
        what = f"{shared} could be exchanged by the tenant while it is mounted"
        raise ContainerError("volume_refused", Problem(f"containers of {place.tenant}", what, "Restart the code host."))


def require_engine(engine: Mapping[str, str], place: ContainerPlace) -> None:
    """Say how the code host is given an engine, where it was given none.

    Raises:
        ContainerError: neither a variable nor the usual socket leads to one.
    """
    if not engine.get("DOCKER_HOST") and not Path(ENGINE_SOCKET).exists():
        natively = f"{prefix(place.tenant)}APOLLO_EXECUTION=process"
        remedy = (
            f"On a Docker host say `engine_socket` in apollo.toml, under `[docker_host]`; elsewhere set {natively}."
        )
        raise ContainerError("no_engine", Problem(ENGINE_SOCKET, "the code host is given no container engine", remedy))


def _require_own(connection: socket.socket, tenant: Asking) -> None:
    """The socket's mode lets in the tenant's group alone; here it is asked of the kernel once more."""
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if user != (os.geteuid() if tenant.user is None else tenant.user):
        raise _refused(tenant.place, f"is asked for by the user {user}", "Only the tenant's own process may.")


def _refused(place: ContainerPlace, what: str, remedy: str) -> ContainerError:
    say(f"{place.tenant}: refused: {what}")
    return ContainerError("start_refused", Problem(f"a container of {place.tenant}", what, remedy))


def _end(number: int, _: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Ended


def _end_with(connection: socket.socket) -> None:
    """End this process when the tenant's side is gone, whatever it is waiting for."""
    watch = select.poll()
    watch.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    watch.poll()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Read who may ask for what, and serve."""
    end_with_parent()
    told = json.load(sys.stdin)
    tenants = []
    for entry in told["tenants"]:
        listener, place = socket.socket(fileno=entry["descriptor"]), PLACE.validate_python(entry["place"])
        tenants.append(Asking(listener, entry["user"], entry["folder"], place))
    BrokerProcess(tenants, told["engine"]).run()


if __name__ == "__main__":
    main()
