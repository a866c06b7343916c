"""The process context and the request context of a webserver whose users are told apart.

Who asks stands in `scope["user"]` of the connection; without one there is no context. A user is given the locations
that he sees, an instance that shows no more, and permissions: read only in general, with the locations that he operates
as the exceptions, since Dagster asks the general answer first. An administrator is given the real things.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

from dagster import DagsterInstance
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from dagster_apollo.access.scoping.dagster_internals import (
    CurrentWorkspace,
    LocationStateChangeEvent,
    LocationStateSubscriber,
    WorkspaceProcessContext,
    WorkspaceRequestContext,
)
from dagster_apollo.access.scoping.ownership import Ownership, ownership_of
from dagster_apollo.access.scoping.scope import Refused, RunLocations, Scope
from dagster_apollo.access.scoping.scoped_instance import ScopedInstance
from dagster_apollo.access.users import User
from dagster_apollo.locations import tenant_of


def is_unrestricted(user: User) -> bool:
    """Whether nothing is hidden from a user or refused to him."""
    return user.is_administrator and not user.confined


def user_of(connection: HTTPConnection | None) -> User:
    """Who asks.

    Raises:
        HTTPException: 401 when the login let nobody in.
    """
    user = connection.scope.get("user") if connection is not None else None
    if not isinstance(user, User):
        raise HTTPException(401)
    return user


class ScopedRequestContext(WorkspaceRequestContext):
    """One request, and whose it is.

    Attributes:
        user: who asks.
        scope: what he sees and changes; None for whom nothing is restricted.
    """

    user: User
    scope: Scope | None = None

    @property
    def show_instance_config(self) -> bool:
        """Whether `dagster.yaml` may be read: it tells of the whole stack."""
        return self.user.is_administrator and not self.user.confined

    def get_viewer_tags(self) -> dict[str, str]:
        return {"user": self.user.name}

    def get_reporting_user_tags(self) -> dict[str, str]:
        return {"user": self.user.name}


class ScopedProcessContext(WorkspaceProcessContext):
    """The webserver's workspace, from which each request is given its user's part.

    Takes what `WorkspaceProcessContext` takes.
    """

    def __init__(self, instance: DagsterInstance, *args: Any, **kwargs: Any) -> None:
        self._views_lock = threading.Lock()
        self._views: weakref.WeakKeyDictionary[CurrentWorkspace, _Views] = weakref.WeakKeyDictionary()
        self._run_locations = RunLocations(instance)
        super().__init__(instance, *args, **kwargs)

    def create_request_context(self, source: Any | None = None) -> ScopedRequestContext:
        """Raises HTTPException 401 when `source` has no user."""
        user = user_of(source)
        workspace = self.get_current_workspace()
        scope: Scope | None = None
        instance: DagsterInstance = self.instance
        if not is_unrestricted(user):
            workspace, instance, scope = self._views_of(workspace).of(user)
        context = ScopedRequestContext(
            instance=instance,
            current_workspace=workspace,
            process_context=ProcessContextOfUser(self, source, user, instance),
            version=self.version,
            source=source,
            read_only=not is_unrestricted(user),
            read_only_locations={
                name: False for name in workspace.code_location_entries if scope is None or scope.operates(name)
            },
        )
        context.user = user
        context.scope = scope
        return context

    def _views_of(self, workspace: CurrentWorkspace) -> _Views:
        """Kept as long as the snapshot lives: a view that is made anew builds its asset graph anew."""
        with self._views_lock:
            views = self._views.get(workspace)
            if views is None:
                views = self._views[workspace] = _Views(workspace, self.instance, self._run_locations)
            return views


class _Views:
    """What the users of one snapshot of the workspace are shown; users of equal rights share it."""

    def __init__(self, workspace: CurrentWorkspace, instance: DagsterInstance, runs: RunLocations) -> None:
        # The snapshot is the key that this is kept by: holding it would keep it for ever.
        self._entries = dict(workspace.code_location_entries)
        self._whole = weakref.ref(workspace)
        self._instance = instance
        self._runs = runs
        self._lock = threading.Lock()
        self._ownership: Ownership | None = None
        self._made: dict[object, tuple[CurrentWorkspace, ScopedInstance, Scope]] = {}

    def of(self, user: User) -> tuple[CurrentWorkspace, ScopedInstance, Scope]:
        rights = (user.role, user.tenants, user.confined)
        with self._lock:
            if rights not in self._made:
                self._made[rights] = self._make(user)
            return self._made[rights]

    def _make(self, user: User) -> tuple[CurrentWorkspace, ScopedInstance, Scope]:
        whole = self._whole() or CurrentWorkspace(self._entries)
        if self._ownership is None:
            self._ownership = ownership_of(whole)
        scope = Scope(user, self._instance, self._ownership, self._runs)
        seen = CurrentWorkspace({name: entry for name, entry in self._entries.items() if scope.sees(name)})
        return seen, ScopedInstance(self._instance, scope), scope


class ProcessContextOfUser(WorkspaceProcessContext):
    """The process context as a request of one user reaches it.

    Reloading asks it for a new request context without saying for whom, and live updates of locations subscribe
    through it. The constructor of the base is not called, so what is not listed here fails.
    """

    def __init__(
        self, process: ScopedProcessContext, source: HTTPConnection | None, user: User, instance: DagsterInstance
    ) -> None:
        self._process = process
        self._source = source
        self._user = user
        self._shown = instance

    @property
    def instance(self) -> DagsterInstance:
        return self._shown

    @property
    def version(self) -> str:
        return self._process.version

    def create_request_context(self, source: Any | None = None) -> ScopedRequestContext:
        return self._process.create_request_context(source or self._source)

    def reload_code_location(self, name: str) -> None:
        self._require(name)
        self._process.reload_code_location(name)

    def shutdown_code_location(self, name: str) -> None:
        self._require(name)
        self._process.shutdown_code_location(name)

    def refresh_component_state(self, name: str, defs_state_keys: Sequence[str]) -> Any:
        self._require(name)
        return self._process.refresh_component_state(name, defs_state_keys)

    def reload_workspace(self) -> None:
        self._require_everything()
        self._process.reload_workspace()

    def refresh_workspace(self) -> None:
        self._require_everything()
        self._process.refresh_workspace()

    def add_state_subscriber(self, subscriber: LocationStateSubscriber) -> int:
        def handle(event: LocationStateChangeEvent) -> None:
            if self._user.readable is None or tenant_of(event.location_name) in self._user.readable:
                subscriber.handle_event(event)

        return self._process.add_state_subscriber(LocationStateSubscriber(handle))

    def rm_state_subscriber(self, token: int) -> None:
        self._process.rm_state_subscriber(token)

    def __exit__(self, *error: object) -> None:
        """Nothing: the workspace is the process's."""

    def _require(self, location: str) -> None:
        tenant = tenant_of(location)
        seen = self._user.readable is None or tenant in self._user.readable
        if not seen or not self._user.may_operate(tenant):
            raise Refused("changing this location")

    def _require_everything(self) -> None:
        if not is_unrestricted(self._user):
            raise Refused("reloading every location")
