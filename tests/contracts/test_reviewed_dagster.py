"""What an upgrade of Dagster adds is hidden from all but administrators, and named here until somebody reviewed it.

Every list is held in both directions: what is new is named, and so is what is gone, since a review of what no longer
exists tells nothing of what took its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path

import dagster
import pytest
from dagster import DagsterInstance
from dagster_graphql.schema import create_schema
from starlette.routing import BaseRoute, Mount

from dagster_apollo.access.scoping import (
    reviewed,
    scoped_events,
    scoped_instance,
    scoped_logs,
    scoped_runs,
    scoped_schedules,
)
from dagster_apollo.access.scoping.dagster_internals import (
    ComputeLogManager,
    ConcurrencyKeyInfo,
    CurrentWorkspace,
    DagsterWebserver,
    DefsStateStorage,
    EventLogConnection,
    EventLogEntry,
    EventLogStorage,
    EventRecordsResult,
    InstigatorState,
    InstigatorTick,
    PartitionBackfill,
    RemoteRepository,
    RunRecord,
    RunStorage,
    ScheduleStorage,
    SqlRunStorage,
    WorkspaceProcessContext,
    WorkspaceRequestContext,
)
from dagster_apollo.access.scoping.guarded import guarded
from dagster_apollo.access.scoping.scope import Refused
from dagster_apollo.access.scoping.scoped_context import (
    ProcessContextOfUser,
    ScopedProcessContext,
    ScopedRequestContext,
)
from dagster_apollo.access.scoping.scoped_instance import ScopedInstance
from dagster_apollo.access.scoping.scoped_webserver import ScopedWebserver
from tests.support.package_source import modules_of

SCHEMA = create_schema().graphql_schema
VERSION = f"dagster {dagster.__version__}"


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def unreviewed(there: Iterable[str], known: Iterable[str], what: str, where: str) -> str | None:
    """What is to be said when the two differ."""
    new, gone = sorted(set(there) - set(known)), sorted(set(known) - set(there))
    if not new and not gone:
        return None
    return f"{VERSION}: of {what}, new: {new}, gone: {gone}. Decide what a confined user may see of it, in {where}."


STORAGES = {
    "runs": (RunStorage, scoped_runs.RUN_RULES, scoped_runs.RUN_REFUSED),
    "events": (EventLogStorage, scoped_events.EVENT_RULES, scoped_events.EVENT_REFUSED),
    "schedules": (ScheduleStorage, scoped_schedules.SCHEDULE_RULES, scoped_schedules.SCHEDULE_REFUSED),
    "components": (DefsStateStorage, scoped_schedules.DEFS_STATE_RULES, scoped_schedules.DEFS_STATE_REFUSED),
}


@pytest.mark.parametrize(("base", "rules", "refused"), STORAGES.values(), ids=STORAGES.keys())
def test_every_method_of_a_storage_is_guarded_or_refused_on_purpose(
    base: type, rules: dict[str, object], refused: frozenset[str]
) -> None:
    found = unreviewed(public(base), {*rules, *refused}, base.__name__, "dagster_apollo/access/scoping/scoped_*.py")

    assert found is None, found
    assert set(rules) & refused == set(), "one or the other"


def test_what_is_read_of_output_is_reviewed_in_every_compute_log_manager_that_dagster_has() -> None:
    # Of the two that the webserver asks `isinstance` for; the one that a stack configures is a subclass of them.
    from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    there = public(ComputeLogManager) | public(CloudStorageComputeLogManager) | public(LocalComputeLogManager)
    known = {*scoped_logs.KEY_READS, *scoped_logs.NEUTRAL, *scoped_logs.LOG_REFUSED, *scoped_logs.ALWAYS}
    found = unreviewed(there, known, "compute log managers", "dagster_apollo/access/scoping/scoped_logs.py")
    assert found is None, found


def test_an_instance_holds_nothing_that_is_neither_shared_nor_guarded(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        _ = instance.run_coordinator, instance.run_launcher, instance.compute_log_manager, instance.run_domain
        held = set(vars(instance))

    known = scoped_instance.SHARED_ATTRIBUTES | scoped_instance.GUARDED_ATTRIBUTES
    found = unreviewed(held, known, "an instance's attributes", "dagster_apollo/access/scoping/scoped_instance.py")
    assert found is None, found
    gone = [name for name in scoped_instance.REFUSED_METHODS if not hasattr(DagsterInstance, name)]
    assert gone == [], "what is refused by name has another name now"


ROOTS: dict[str, tuple[Callable[[], Iterable[str]], frozenset[str]]] = {
    "queries": (lambda: SCHEMA.query_type.fields, reviewed.QUERIES),
    "mutations": (
        lambda: SCHEMA.mutation_type.fields,
        reviewed.MUTATIONS_OF_TENANTS | reviewed.MUTATIONS_OF_THE_STACK,
    ),
    "subscriptions": (lambda: SCHEMA.subscription_type.fields, reviewed.SUBSCRIPTIONS),
}


@pytest.mark.parametrize("kind", ROOTS)
def test_every_root_field_of_the_schema_is_reviewed(kind: str) -> None:
    there, known = ROOTS[kind]

    found = unreviewed(there(), known, kind, "dagster_apollo/access/scoping/reviewed.py")
    assert found is None, found


def test_every_route_of_the_webserver_is_reviewed() -> None:
    class Bare(DagsterWebserver):
        """With the routes, and without what serves them."""

        def __init__(self) -> None:
            self._app_path_prefix = ""

    def is_static(route: BaseRoute) -> bool:
        return isinstance(route, Mount) or getattr(route, "name", "") == "root_static"

    there = {str(getattr(route, "path", "")) for route in Bare().build_routes() if not is_static(route)}
    found = unreviewed(there, reviewed.ROUTES, "routes", "dagster_apollo/access/scoping/reviewed.py")
    assert found is None, found


# What the classes have beyond what they override; everything else has to be there still to be overridden.
OVERRIDING: dict[type, set[str]] = {
    ScopedWebserver: {"_audit", "_change", "_gate", "_outer_middleware", "_public_routes", "_report", "_routes"}
    | {"_write_audit"},
    ScopedRequestContext: {"user", "scope"},
    ScopedProcessContext: {"_run_locations", "_views", "_views_lock", "_views_of"},
    ProcessContextOfUser: {"_process", "_require", "_require_everything", "_shown", "_source", "_user"},
    ScopedInstance: set(),
}


@pytest.mark.parametrize("kind", OVERRIDING, ids=lambda kind: kind.__name__)
def test_what_is_overridden_is_still_there(kind: type) -> None:
    base = kind.__mro__[1]
    ours = {name for name in vars(kind) if not name.startswith("__")} - OVERRIDING[kind]

    gone = sorted(name for name in ours if not hasattr(base, name))
    assert gone == [], f"{VERSION}: {base.__name__} asks nobody for {gone} any more: what was guarded there is open"


CALLED: dict[type, tuple[str, ...]] = {
    WorkspaceRequestContext: (
        "instance", "current_workspace", "process_context", "version", "source", "read_only", "read_only_locations"
    ),
    CurrentWorkspace: ("code_location_entries",),
    EventLogConnection: ("records", "cursor", "has_more"),
    EventRecordsResult: ("records", "cursor", "has_more"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CALLED, ids=lambda kind: kind.__name__)
def test_what_is_made_is_made_of_what_we_give(kind: type) -> None:
    takes = inspect.signature(kind).parameters
    given = CALLED[kind]

    assert [name for name in given if name not in takes] == [], f"{VERSION}: {kind.__name__} takes {list(takes)}"
    asked = [name for name, entry in takes.items() if entry.default is entry.empty and name not in given]
    assert asked == [], f"{VERSION}: {kind.__name__} also asks for {asked}"


READ: dict[type, tuple[str, ...]] = {
    ConcurrencyKeyInfo: (
        "concurrency_key",
        "slot_count",
        "claimed_slots",
        "pending_steps",
        "limit",
        "using_default_limit",
    ),
    EventLogEntry: ("run_id", "dagster_event"),
    InstigatorState: ("origin", "selector_id"),
    InstigatorTick: ("instigator_origin_id", "selector_id", "log_key", "tick_id"),
    PartitionBackfill: ("asset_selection", "is_asset_backfill", "partition_set_origin"),
    RemoteRepository: ("get_schedules", "get_sensors", "handle", "asset_graph"),
    RunRecord: ("dagster_run",),
    SqlRunStorage: ("fetchall",),
    WorkspaceProcessContext: ("get_current_workspace", "add_state_subscriber", "rm_state_subscriber"),
}


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.__name__)
def test_what_is_read_of_a_class_is_still_there(kind: type) -> None:
    there = {*dir(kind), *inspect.signature(kind).parameters, *kind.__annotations__}

    assert [name for name in READ[kind] if name not in there] == [], f"{VERSION}: {kind.__name__}"


def test_a_method_that_an_upgrade_adds_is_refused_and_a_rule_without_one_fails() -> None:
    class Storage:
        def known(self) -> str:
            return "known"

        def added(self) -> str:
            return "added"

        @property
        def added_property(self) -> str:
            return "added"

    made = guarded(Storage, {"known": lambda scope, call, arguments: call()}, ())(Storage(), None)  # type: ignore[arg-type]

    assert made.known() == "known"
    for added in (made.added, lambda: made.added_property):
        with pytest.raises(Refused):
            added()
    with pytest.raises(TypeError, match="has no gone"):
        guarded(Storage, {"gone": lambda scope, call, arguments: None}, ())


def test_dagster_is_reached_beyond_its_public_names_in_the_adapter_alone() -> None:
    adapter = "dagster_apollo.access.scoping.dagster_internals"

    private = [
        f"{module.name}, line {entry.line}: {entry.module}"
        for module in modules_of().values()
        if module.name.startswith("dagster_apollo.access.") and module.name != adapter
        for entry in module.imports
        if entry.module.startswith(("dagster.", "dagster_graphql", "dagster_webserver", "dagster_shared"))
    ]
    assert private == []
