"""The workspace that webserver and daemon share: the code locations that the code host says it serves.

The directory is asked what has changed, and answers when something has: a tenant that was added, one of a new version,
one that can be loaded now. A code host that is away is waited for while what it last said stays known by name.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from dagster_apollo.code_host.directory import Directory, Location, fetch
from dagster_apollo.errors import HostError
from dagster_apollo.host.dagster_internals import (
    GrpcServerCodeLocationOrigin,
    WorkspaceLoadTarget,
    WorkspaceProcessContext,
)
from dagster_apollo.host.front_client import UNREACHABLE, FrontCalls

# Between two questions, so that a directory that answers at once is not asked without end; and when it is away.
PAUSE_SECONDS, AWAY_SECONDS = 0.2, 3.0
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
        self._failed: dict[str, str] = {}

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

    def current_id(self, location: str) -> str | None:
        """What tells what a location serves now; None: it is not known, or the code host is away."""
        directory = self._state.directory
        if self._state.problem is not None or directory is None:
            return None
        return next((entry.server_id for entry in directory.locations if entry.name == location), None)

    def is_prepared(self, location: str) -> bool:
        """Whether there is anything to ask of a location; also where nothing is known of it."""
        directory = self._state.directory
        entries = directory.locations if directory and self._state.problem is None else ()
        return all(entry.server_id is not None for entry in entries if entry.name == location)

    def calls(self, token: str) -> FrontCalls:
        """How this process calls the front of this code host."""
        return FrontCalls(self._host, token, self.ports, self.current_id, self.code_host, self.is_prepared)

    def ports(self) -> set[int]:
        """On which the front answers, as far as the directory was heard."""
        directory = self._state.directory
        return {entry.port for entry in directory.locations} if directory else set()

    def code_host(self) -> str | None:
        """Which start of the code host was heard last; None: none yet."""
        directory = self._state.directory
        return directory.started if directory else None

    def ask(self, *, seen: int | None = None) -> CodeHostState:
        """Ask the code host, and keep what it says.

        Args:
            seen: wait until it says something else than what had this number, or for as long as it keeps a question
                open; None: it answers at once.
        """
        known = self._state.directory
        try:
            directory = fetch(self._host, self._port, seen=seen)
        except HostError as error:
            state = CodeHostState(known, str(error.problems[0]))
        else:
            state = CodeHostState(directory, self._problem_of(directory))
        with self._lock:
            if state.problem != self._state.problem:
                _log.warning("code host: %s", state.problem or "it answers")
            self._state = state
        return state

    def keep_current(self, context: WorkspaceProcessContext) -> threading.Event:
        """Follow what the code host serves, in a thread; set the event to end it."""
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(context, ended), name="code-host-watch", daemon=True).start()
        return ended

    def _watch(self, context: WorkspaceProcessContext, ended: threading.Event) -> None:
        pause = PAUSE_SECONDS
        followed: int | None = None  # not what somebody else has asked meanwhile: that is still to be followed
        while not ended.wait(pause):
            try:
                state = self.ask(seen=followed)
                pause, followed = (AWAY_SECONDS if state.problem else PAUSE_SECONDS), None
                if state.problem is None and state.directory is not None:
                    self._follow(context, state.directory)
                    followed = state.directory.seen
            except Exception:
                _log.exception("the workspace cannot be brought up to date; it is tried again")
                pause = AWAY_SECONDS

    def _follow(self, context: WorkspaceProcessContext, directory: Directory) -> None:
        before, now = self._loaded, directory.locations
        if before is None or [(old.name, old.port) for old in before] != [(new.name, new.port) for new in now]:
            names = ", ".join(new.name for new in now) or "none"
            _log.info("the code host serves other locations than before: %s", names)
            context.refresh_workspace()
            return
        self._loaded = now
        loaded = context.get_current_workspace().code_location_entries
        for entry in now:
            known = loaded.get(entry.name)
            location = known.code_location if known else None
            # What failed to load is known by the id that it was tried at.
            served = getattr(location, "server_id", None) if location else self._failed.get(entry.name)
            if entry.ready and served != entry.server_id:
                context.refresh_code_location(entry.name)
                self._note(context, entry)

    def _note(self, context: WorkspaceProcessContext, entry: Location) -> None:
        """Remember of a location that did not load at which version that was, unless it could not even be reached."""
        known = context.get_current_workspace().code_location_entries.get(entry.name)
        self._failed.pop(entry.name, None)
        error = known.load_error if known else None
        if entry.server_id and error and error.cls_name != UNREACHABLE:
            self._failed[entry.name] = entry.server_id

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
