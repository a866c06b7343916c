"""A location's warm process: it has loaded the tenant's definitions, and forks whatever needs them.

In a fork of the zygote that is the tenant's user and has its environment alone. It has one thread and no connection,
which is asserted before each fork; so what it forks may have both: the server that answers calls
(`location_server.py`), a run (`warm/run_process.py`), the snapshot for the front (`snapshot_writer.py`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.code_host import location_server
from dagster_apollo.code_host.answers import start_run_result
from dagster_apollo.code_host.dagster_internals import (
    DagsterInstance,
    ExecuteExternalJobArgs,
    LoadedRepositories,
    SerializableErrorInfo,
    deserialize_value,
    load_repositories,
    serializable_error_info_from_exc_info,
)
from dagster_apollo.code_host.lines import Line, LineClosed, Message, pair
from dagster_apollo.code_host.snapshot_writer import write_snapshot
from dagster_apollo.code_host.walls import forbid_looking
from dagster_apollo.dbt.workspace import Places, open_workspace, repository_root
from dagster_apollo.errors import HostError, Problem, ProblemsError
from dagster_apollo.host.role import BAKING_VARIABLE, TENANT_VARIABLE, say
from dagster_apollo.runs.place import database_url
from dagster_apollo.runs.storage import buffered, prepare
from dagster_apollo.warm.dagster_internals import instance_of, keep_subsets, make_subset
from dagster_apollo.warm.dbt_internals import forking_locks
from dagster_apollo.warm.forking import end_default_database, fork, require_forkable
from dagster_apollo.warm.run_process import execute
from dagster_apollo.warm.runs import ForkedRun
from dagster_apollo.warm.warming import Warm, warm_up

MODULE = "dagster_apollo.code_host.code_location"
Loaded = LoadedRepositories | SerializableErrorInfo
# So often it is looked whether what a run has forked is gone: nobody tells.
_ENDING_TICK_SECONDS = 0.1


def main(line: Line, given: Mapping[str, Any]) -> int:
    """Load, say so, and fork what is asked for until the first process closes the line."""
    # Not in the repository: Dagster would read its `.env`, which holds every tenant's variables.
    os.chdir(os.environ["DAGSTER_HOME"])
    location = str(given["location"])
    loaded = load(location)
    keep_subsets()
    end_default_database()
    gc.collect()  # what asked a server while it was loaded, and failed, has a connection until then
    try:
        require_forkable()
    except HostError as error:
        line.send({"is": "unforkable", "why": error.problems[0].what})
        return 0
    gc.freeze()
    line.send({"is": "ready", "loaded": not isinstance(loaded, SerializableErrorInfo)})
    with contextlib.suppress(LineClosed):
        LocationProcess(line, location, loaded).serve()
    return 0


def load(location: str) -> Loaded:
    """The tenant's definitions, or the error that its location shows."""
    try:
        with forking_locks():  # dagster-dbt makes a manifest of dbt's where it selects
            return load_repositories(MODULE, location)
    except Exception as error:
        say(f"{location}: cannot be loaded: {_printable(error)}")
        return serializable_error_info_from_exc_info(sys.exc_info())


def _printable(error: Exception) -> str:
    """What a log may hold of it: all of it in a build, which has no secret, and otherwise what is named by it.

    What a tenant's own code says may hold a secret: the location shows it, to those who may see the tenant.
    """
    error = getattr(error, "user_exception", error)  # Dagster's own around it says nothing more
    if os.environ.get(BAKING_VARIABLE) and isinstance(error, ProblemsError):
        return "; ".join(str(problem) for problem in error.problems)
    if os.environ.get(BAKING_VARIABLE):
        return " ".join(f"{type(error).__name__}: {error}".split())
    named = error.problems if isinstance(error, ProblemsError) else ()
    return ", ".join([type(error).__name__, *(problem.where for problem in named)]) + "; the webserver shows why"


class LocationProcess:
    """One location, loaded, and what was forked from it.

    Args:
        line: to the first process.
        location: its name.
        loaded: its definitions.
    """

    def __init__(self, line: Line, location: str, loaded: Loaded) -> None:
        self._line, self._location, self._loaded = line, location, loaded
        self._warm: Warm | None = None
        self._instances: dict[str, DagsterInstance] = {}
        self._forked: dict[int, ForkedRun | None] = {}
        self._server: Line | None = None

    def serve(self) -> None:
        """Fork what is asked for.

        Raises:
            LineClosed: the first process has let this one go.
        """
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            listened_to = [self._line, woken, *([self._server] if self._server else [])]
            is_ending = any(run and run.is_ending for run in self._forked.values())
            readable, _, _ = select.select(listened_to, [], [], _ENDING_TICK_SECONDS if is_ending else None)
            if woken in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
            self._reap()
            if self._line in readable:
                message = self._line.receive()
                assert message is not None  # noqa: S101  it waits
                try:
                    self._fork(message, (woken, wake))
                finally:
                    message.close()
            elif self._server in readable:
                self._make_ready()

    def _make_ready(self) -> None:
        """Make what a run needs that the server is being asked about: it will be forked from here."""
        assert self._server is not None  # noqa: S101  it was listened to
        try:
            asked = self._server.receive()
        except LineClosed:
            self._server.close()
            self._server = None
            return
        if asked is not None and not isinstance(self._loaded, SerializableErrorInfo):
            with contextlib.suppress(Exception):  # who asked is told by the server
                [definition] = self._loaded.definitions_by_name.values()
                make_subset(definition, str(asked.fields["arguments"]))

    def _fork(self, message: Message, ours: Sequence[int]) -> None:
        fields = message.fields
        try:
            work = self._work(fields, message.descriptors)

            def child() -> int:
                for line in filter(None, (self._line, self._server)):
                    line.close()
                for descriptor in ours:
                    os.close(descriptor)
                gc.enable()
                forbid_looking(f"{fields['do']}:{self._location}")
                return work()

            pid = fork(child)
        except (OSError, ProblemsError) as error:  # its line closes, as if it had ended at once
            say(f"{self._location}: {fields['do']}: {error}")
            return
        self._forked[pid] = self._forked_run(pid, str(fields["run_id"])) if fields["do"] == "run" else None
        self._line.send({"is": "forked", "id": fields["id"], "pid": pid})

    def _work(self, fields: Mapping[str, Any], descriptors: Sequence[int]) -> Callable[[], int]:
        """What a fork is to do; the last descriptor is its own line to the first process, closed when it ends."""
        location, loaded = self._location, self._loaded
        match fields["do"]:
            case "serve":
                connection = socket.socket(fileno=os.dup(descriptors[0]))
                asked = Line(self._listen_to_server(), waits=False)
                return lambda: location_server.serve(connection, location, MODULE, loaded, asked)
            case "run":
                return self._run(str(fields["arguments"]), os.dup(descriptors[0]))
        file, own = descriptors

        def snapshot() -> int:
            write_snapshot(file, loaded, MODULE, location)
            Line(socket.socket(fileno=own)).send({"is": "written"})
            return 0

        return snapshot

    def _listen_to_server(self) -> socket.socket:
        """Listen to the server that is about to be forked, and to no other; its end."""
        ours, theirs = pair()
        if self._server:
            self._server.close()
        self._server = Line(ours, waits=False)
        return theirs

    def _run(self, arguments: str, own: int) -> Callable[[], int]:
        line = Line(socket.socket(fileno=own))

        def say_started(result: str) -> None:
            line.send({"is": "started", "result": result, "pid": os.getpid()})

        try:
            warm = replace(self._warm_up(), instance=self._instance_of(arguments))
        except ProblemsError as error:
            say_started(start_run_result(False, f"{self._location}: {error}"))
            raise
        return lambda: execute(warm, arguments, say_started, buffered)

    def _instance_of(self, arguments: str) -> DagsterInstance | None:
        """The instance that a run is of, with what each run asks first asked already; None: each run makes its own."""
        if database_url(os.environ) is None:
            return None
        wanted = deserialize_value(arguments, ExecuteExternalJobArgs)
        told = repr(wanted.instance_ref)
        try:
            if told not in self._instances:
                instance = instance_of(wanted)
                prepare(instance)
                self._instances = {told: instance}
        except SQLAlchemyError as error:  # a run waits for a database that is away
            say(f"{self._location}: runs are not prepared: {type(error).__name__}")
        return self._instances.get(told)

    def _warm_up(self) -> Warm:
        """What runs are forked from, made for the first of them: nobody else needs it."""
        if self._warm is None:
            if isinstance(self._loaded, SerializableErrorInfo):
                remedy = "See the location's page."
                raise HostError([Problem(self._location, "its definitions do not load", remedy)])
            environ = dict(os.environ)
            workspace = open_workspace(environ, Places.find(environ, repository_root()), environ[TENANT_VARIABLE])
            [definition] = self._loaded.definitions_by_name.values()
            self._warm = warm_up(workspace, definition, (MODULE, "location"))
        return self._warm

    def _forked_run(self, pid: int, run_id: str) -> ForkedRun:
        return ForkedRun(pid, run_id, self._warm_up().workspace.runs_dir)

    def _reap(self) -> None:
        for pid, run in list(self._forked.items()):
            code = run.reap() if run else _exit_code(pid)
            if code is not None:
                del self._forked[pid]
                self._line.send({"is": "ended", "pid": pid, "code": code})


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None
