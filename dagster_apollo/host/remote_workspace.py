"""The workspace that webserver and daemon share: the code locations that the code host says it serves.

Asked every few seconds: a tenant that was added is seen without a restart, and a code host that is away is waited for
while what it last said stays known by name. Changes behind one port are Dagster's own to notice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_apollo.errors import HostError
from dagster_apollo.host.dagster_internals import (
    GrpcServerCodeLocationOrigin,
    WorkspaceFileTarget,
    WorkspaceLoadTarget,
    WorkspaceProcessContext,
)
from dagster_apollo.host.directory import Directory, Location, fetch

POLL_SECONDS = 3.0
_log = logging.getLogger("dagster_apollo.workspace")


@dataclass(frozen=True)
class CodeHostState:
    """What is known of the code host.

    Attributes:
        directory: what it last said; None: nothing yet.
        problem: why it cannot be used now; None: it can.
    """

    directory: Directory | None
    problem: str | None


class RemoteWorkspace(WorkspaceLoadTarget):
    """The locations of a code host.

    Args:
        host, port: where its directory answers.
        instance: the id of this process's instance; None: not compared.
    """

    def __init__(self, host: str, port: int, instance: str | None) -> None:
        self._host, self._port, self._instance = host, port, instance
        self._lock = threading.Lock()
        self._state = CodeHostState(None, "it has not been asked yet")
        self._loaded: tuple[Location, ...] | None = None

    @property
    def state(self) -> CodeHostState:
        return self._state

    def create_origins(self) -> Sequence[GrpcServerCodeLocationOrigin]:
        """Where each location is served now; while the code host is away, where it was."""
        directory = self.ask().directory
        if directory is None or directory.instance is None or not self._is_ours(directory):
            return []
        self._loaded = directory.locations
        return [
            GrpcServerCodeLocationOrigin(host=self._host, port=entry.port, location_name=entry.name)
            for entry in directory.locations
        ]

    def ask(self) -> CodeHostState:
        """Ask the code host, and keep what it says."""
        with self._lock:
            try:
                directory = fetch(self._host, self._port)
            except HostError as error:
                state = CodeHostState(self._state.directory, str(error.problems[0]))
            else:
                state = CodeHostState(directory, self._problem_of(directory))
            if state.problem != self._state.problem:
                _log.warning("code host: %s", state.problem or "it answers")
            self._state = state
            return state

    def keep_current(self, context: WorkspaceProcessContext) -> threading.Event:
        """Look every few seconds whether other locations are served, in a thread; set the event to end it."""
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(context, ended), name="code-host-watch", daemon=True).start()
        return ended

    def _watch(self, context: WorkspaceProcessContext, ended: threading.Event) -> None:
        while not ended.wait(POLL_SECONDS):
            try:
                state = self.ask()
                if state.problem is None and state.directory is not None:
                    self._follow(context, state.directory)
            except Exception:
                _log.exception("the workspace cannot be brought up to date; it is tried again")

    def _follow(self, context: WorkspaceProcessContext, directory: Directory) -> None:
        before, now = self._loaded, directory.locations
        if before == now:
            return
        if before is None or [(old.name, old.port) for old in before] != [(new.name, new.port) for new in now]:
            names = ", ".join(new.name for new in now) or "none"
            _log.info("the code host serves other locations than before: %s", names)
            context.refresh_workspace()
            return
        self._loaded = now
        for old, new in zip(before, now, strict=True):
            if new.ready and not old.ready:
                context.refresh_code_location(new.name)

    def _is_ours(self, directory: Directory) -> bool:
        return not self._instance or not directory.instance or directory.instance == self._instance

    def _problem_of(self, directory: Directory) -> str | None:
        if directory.instance is None:
            return f"the code host at {self._host}:{self._port} starts: it waits for the database"
        if not self._is_ours(directory):
            return (
                f"the code host at {self._host}:{self._port} records runs in another database than this process reads: "
                "give all roles the same DAGSTER_PG_URI"
            )
        return None


def file_workspace(file: Path) -> WorkspaceLoadTarget:
    """A laptop's workspace: the code servers that `apollo dev` started and wrote down."""
    return WorkspaceFileTarget([str(file)])
