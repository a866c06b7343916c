"""A webserver as production has it, over two tenants with a past: runs, checks, backfills, ticks, output, claims.

`alpaca` and `zebra` (`scoped_location.py`) have had the same done to them, so what one shows of itself is what the
other has to hide. Users are named by a header, as a login would name them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance
from dagster._core.workspace.load_target import PythonFileTarget, WorkspaceFileTarget, WorkspaceLoadTarget
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from dagster_apollo.access.scoping.scoped_context import ScopedProcessContext
from dagster_apollo.access.scoping.scoped_webserver import ScopedWebserver
from dagster_apollo.access.users import User
from tests.support import scoped_location

ALPACA, ZEBRA = "alpaca", "zebra"
REPOSITORY = "__repository__"

# Runs are launched at once: there is no daemon here that would take them from a queue.
INSTANCE_CONFIG = """
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
telemetry:
  enabled: false
"""

ONLY_ALPACA = frozenset({ALPACA})
USERS = {
    user.name: user
    for user in (
        User("administrator", "administrator"),
        User("viewer", "viewer"),
        User("operator-of-all", "operator"),
        User("operator-of-alpaca", "operator", ONLY_ALPACA),
        User("confined-operator", "operator", ONLY_ALPACA, confined=True),
        User("confined-viewer", "viewer", ONLY_ALPACA, confined=True),
        User("confined-administrator", "administrator", ONLY_ALPACA, confined=True),
        User("confined-to-nothing", "operator", frozenset(), confined=True),
    )
}


class NamedByHeader:
    """Stands where the login does: the user whom `x-user` names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = dict(scope.get("headers", ())).get(b"x-user", b"").decode()
        if name in USERS:
            scope["user"] = USERS[name]
        await self._app(scope, receive, send)


@dataclass
class Past:
    """The ids of what was done to one tenant.

    Attributes:
        runs: by what was launched: `nightly`, a job, and `assets`, some of which failed.
        snapshots: the job snapshots of these runs.
        backfills: of a `job`, and of `assets`.
        instigators: by name: the origin's id, the selector's id, and the id of a tick.
        log_keys: of captured output: of steps, of ticks, of a backfill.
        repository: its id in GraphQL.
    """

    tenant: str
    repository: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)
    backfills: dict[str, str] = field(default_factory=dict)
    instigators: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    log_keys: list[list[str]] = field(default_factory=list)

    @property
    def ids(self) -> set[str]:
        """Those that nobody else has."""
        of_instigators = {part for origin, selector, _ in self.instigators.values() for part in (origin, selector)}
        return {
            self.repository,
            *self.runs.values(),
            *self.snapshots.values(),
            *self.backfills.values(),
            *of_instigators,
        }


@dataclass
class World:
    """A running webserver and what it serves.

    Attributes:
        audited: what the audit was told, in order.
    """

    instance: DagsterInstance
    process: ScopedProcessContext
    client: TestClient
    audited: list[dict[str, Any]]
    past: dict[str, Past] = field(default_factory=dict)

    def ask(self, user: str, query: str, **variables: Any) -> Any:
        """What GraphQL answers, data and errors."""
        response = self.client.post("/graphql", json={"query": query, "variables": variables}, headers={"x-user": user})
        return response.json()

    def http(self, user: str, method: str, path: str, **options: Any) -> Any:
        headers = {"x-user": user, **options.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **options)


def new_instance(home: Path, postgres_url: str | None = None) -> DagsterInstance:
    """An instance in a folder: on SQLite, as `apollo dev` has one, or on Postgres, as a deployed stack has."""
    config = yaml.safe_load(INSTANCE_CONFIG)
    if postgres_url:
        config["storage"] = {"postgres": {"postgres_url": postgres_url}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    return DagsterInstance.from_config(str(home))


def selector(tenant: str, **more: Any) -> dict[str, Any]:
    return {"repositoryLocationName": tenant, "repositoryName": REPOSITORY, **more}


def locations() -> WorkspaceLoadTarget:
    """A code server for each tenant."""
    return _Targets(
        tuple(
            PythonFileTarget(
                python_file=scoped_location.__file__, attribute=tenant, working_directory=None, location_name=tenant
            )
            for tenant in (ALPACA, ZEBRA)
        )
    )


@dataclass(frozen=True)
class _Targets(WorkspaceLoadTarget):
    targets: tuple[WorkspaceLoadTarget, ...]

    def create_origins(self) -> list[Any]:
        return [origin for target in self.targets for origin in target.create_origins()]


@contextmanager
def serving(instance: DagsterInstance, target: WorkspaceLoadTarget, **options: Any) -> Iterator[World]:
    """Serve a workspace by an instance."""
    audited: list[dict[str, Any]] = []
    with ScopedProcessContext(instance, target) as process:
        broken = [entry.load_error for entry in process.get_current_workspace().code_location_entries.values()]
        assert not any(broken), broken
        webserver = ScopedWebserver(process, middleware=[Middleware(NamedByHeader)], audit=audited.append, **options)
        client = TestClient(webserver.create_asgi_app(), raise_server_exceptions=False)
        yield World(instance, process, client, audited)


def running_code_servers(world: World, folder: Path) -> WorkspaceLoadTarget:
    """The same code servers, for another process context."""
    file = folder / "workspace.yaml"
    file.write_text(yaml.safe_dump({"load_from": [dict(spec) for spec in world.process.get_code_server_specs()]}))
    return WorkspaceFileTarget([str(file)])
