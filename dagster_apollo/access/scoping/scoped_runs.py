"""Runs, run tags, backfills, snapshots and heartbeats as one user sees them.

Runs are filtered by the tag `.dagster/repository` in SQL, so that pages stay pages, and by the run's origin afterwards,
since whoever launches a run can set a tag. A short page ends a client's paging: what is dropped is filled up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy
from dagster import DagsterRun, RunsFilter

from dagster_apollo.access.scoping.dagster_internals import (
    REPOSITORY_LABEL_TAG,
    PartitionBackfill,
    RunRecord,
    RunStorage,
    RunTagsTable,
    SqlRunStorage,
    copy_record,
    create_execution_plan_snapshot_id,
)
from dagster_apollo.access.scoping.guarded import Arguments, Call, Rule, allowed, answered, guarded, ignored
from dagster_apollo.access.scoping.scope import NOTHING, Refused, Scope, run_location

_BACKFILLS_AT_ONCE = 200
# The switch of the automation daemon, the one cursor that the UI shows.
_PUBLIC_CURSORS = {"ASSET_DAEMON_PAUSED"}
# By these tags a run is shown as part of another run's line, or of a backfill, whatever else it says of itself.
RUN_LINE_TAGS = ("dagster/parent_run_id", "dagster/root_run_id")
BACKFILL_TAG = "dagster/backfill"


def own_runs(scope: Scope, filters: RunsFilter | None) -> RunsFilter:
    """A filter narrowed to the runs that a user sees, as far as a tag can say it."""
    wanted = filters or RunsFilter()
    if not scope.confined:
        return wanted
    tags = dict(wanted.tags or {})
    labels = scope.labels()
    if (asked := tags.get(REPOSITORY_LABEL_TAG)) is not None:
        labels = [label for label in ([asked] if isinstance(asked, str) else asked) if label in labels]
    tags[REPOSITORY_LABEL_TAG] = list(labels) or [NOTHING]
    narrowed: RunsFilter = copy_record(wanted, tags=tags)
    return narrowed


def _page_of_runs(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    """Runs or their records; filled up again where a run was dropped after SQL."""
    arguments["filters"] = own_runs(scope, arguments.get("filters"))
    if not scope.confined:
        return list(call(**arguments))
    if arguments.get("cursor") and not scope.sees_run(arguments["cursor"]):
        return []
    limit = arguments.get("limit")
    page = list(call(**arguments))
    found = [entry for entry in page if scope.sees(run_location(_run(entry)))]
    # A page of buckets is not one that can be gone on from.
    while limit and len(found) < limit <= len(page) and not arguments.get("bucket_by"):
        page = list(call(**{**arguments, "cursor": _run(page[-1]).run_id}))
        found += [entry for entry in page if scope.sees(run_location(_run(entry)))]
    return found[:limit] if limit else found


def _run(entry: DagsterRun | RunRecord) -> DagsterRun:
    return entry.dagster_run if isinstance(entry, RunRecord) else entry


def _ids_of_runs(scope: Scope, call: Call, arguments: Arguments) -> list[str]:
    if not scope.confined:
        return list(call(**arguments))
    # An id alone does not tell a run's origin, and asking of each would be a query each.
    storage = call.__self__  # type: ignore[attr-defined]
    return [run.run_id for run in _page_of_runs(scope, storage.get_runs, arguments)]


def _count_of_runs(scope: Scope, call: Call, arguments: Arguments) -> Any:
    return call(filters=own_runs(scope, arguments.get("filters")))


def _partitions_of_runs(scope: Scope, call: Call, arguments: Arguments) -> Any:
    return call(runs_filter=own_runs(scope, arguments.get("runs_filter")))


def _group_of_run(scope: Scope, call: Call, arguments: Arguments) -> Any:
    if not scope.sees_run(arguments["run_id"]):
        return None
    group = call(**arguments)
    return group and (group[0], [run for run in group[1] if scope.sees(run_location(run))])


def _has_run(scope: Scope, call: Call, arguments: Arguments) -> bool:
    return bool(call(**arguments)) and scope.sees_run(arguments["run_id"])


def _change_run(scope: Scope, call: Call, arguments: Arguments) -> Any:
    scope.require_run(arguments["run_id"])
    return call(**arguments)


def _add_run(scope: Scope, call: Call, arguments: Arguments) -> Any:
    run: DagsterRun = arguments["dagster_run"]
    scope.require_location(run_location(run))
    label = (run.tags or {}).get(REPOSITORY_LABEL_TAG)
    origin = run.remote_job_origin
    if label and (origin is None or label != origin.repository_origin.get_label()):
        raise Refused("a run tagged as another location's")
    _require_line(scope, call.__self__, run)  # type: ignore[attr-defined]
    return call(**arguments)


def _require_line(scope: Scope, storage: RunStorage, run: DagsterRun) -> None:
    """Let a run continue only what its user operates: it becomes part of that one's history."""
    tags = run.tags or {}
    line = {run.parent_run_id, run.root_run_id, *(tags.get(tag) for tag in RUN_LINE_TAGS)}
    for run_id in filter(None, line):
        # What is not there, as a root that was deleted, is nobody's: who sees everything may still name it.
        if scope.confined or storage.has_run(run_id):
            scope.require_run(run_id)
    if not (backfill_id := tags.get(BACKFILL_TAG)):
        return
    # One's own run may be executed again, also where its backfill had runs of others.
    parents = storage.get_runs(RunsFilter(run_ids=[run.parent_run_id]), limit=1) if run.parent_run_id else ()
    if any((parent.tags or {}).get(BACKFILL_TAG) == backfill_id for parent in parents):
        return
    backfill = storage.get_backfill(backfill_id)
    if backfill:
        scope.require_backfill(backfill)
    elif scope.confined:
        raise Refused("changing this backfill")


def _add_run_tags(scope: Scope, call: Call, arguments: Arguments) -> Any:
    if REPOSITORY_LABEL_TAG in arguments["new_tags"]:
        raise Refused("moving a run to another location")
    return _change_run(scope, call, arguments)


def _tags_of_runs(scope: Scope, columns: Sequence[Any], *conditions: Any) -> Any:
    """A distinct query over the tags of visible runs."""
    own = sqlalchemy.select(RunTagsTable.c.run_id).where(
        RunTagsTable.c.key == REPOSITORY_LABEL_TAG, RunTagsTable.c.value.in_(scope.labels())
    )
    query = sqlalchemy.select(*columns).distinct().where(RunTagsTable.c.run_id.in_(own), *conditions)
    return query.order_by(*columns)


def _sql_storage(call: Call) -> SqlRunStorage:
    storage = getattr(call, "__self__", None)
    if not isinstance(storage, SqlRunStorage):
        raise Refused("the tags of runs, which only a SQL storage can tell apart")
    return storage


def _run_tags(scope: Scope, call: Call, arguments: Arguments) -> Any:
    if not scope.confined:
        return call(**arguments)
    storage = _sql_storage(call)
    conditions: list[Any] = [RunTagsTable.c.key.in_(arguments["tag_keys"])]
    if prefix := arguments.get("value_prefix"):
        conditions.append(RunTagsTable.c.value.startswith(prefix, autoescape=True))
    query = _tags_of_runs(scope, (RunTagsTable.c.key, RunTagsTable.c.value), *conditions)
    if limit := arguments.get("limit"):
        query = query.limit(limit)
    values: dict[str, set[str]] = defaultdict(set)
    for row in storage.fetchall(query):
        values[row["key"]].add(row["value"])
    return sorted(values.items())


def _run_tag_keys(scope: Scope, call: Call, arguments: Arguments) -> Any:
    if not scope.confined:
        return call(**arguments)
    storage = _sql_storage(call)
    return [row["key"] for row in storage.fetchall(_tags_of_runs(scope, (RunTagsTable.c.key,)))]


def _backfills(scope: Scope, call: Call, arguments: Arguments) -> list[PartitionBackfill]:
    """Backfills of assets carry no location, so pages of all are read until one of the visible is full."""
    if not scope.confined:
        return list(call(**arguments))
    limit, cursor = arguments.pop("limit", None), arguments.pop("cursor", None)
    found: list[PartitionBackfill] = []
    while limit is None or len(found) < limit:
        page = call(**arguments, cursor=cursor, limit=_BACKFILLS_AT_ONCE)
        found += [backfill for backfill in page if scope.sees_backfill(backfill)]
        if len(page) < _BACKFILLS_AT_ONCE:
            break
        cursor = page[-1].backfill_id
    return found[:limit]


def _count_of_backfills(scope: Scope, call: Call, arguments: Arguments) -> Any:
    if not scope.confined:
        return call(**arguments)
    storage = call.__self__  # type: ignore[attr-defined]
    return len(_backfills(scope, storage.get_backfills, dict(arguments)))


def _backfill(scope: Scope, call: Call, arguments: Arguments) -> PartitionBackfill | None:
    found = call(**arguments)
    return found if found and scope.sees_backfill(found) else None


def _change_backfill(scope: Scope, call: Call, arguments: Arguments) -> Any:
    scope.require_backfill(arguments["partition_backfill"])
    return call(**arguments)


def _has_job_snapshot(scope: Scope, call: Call, arguments: Arguments) -> bool:
    return scope.sees_job_snapshot(arguments["job_snapshot_id"]) and bool(call(**arguments))


def _job_snapshot(scope: Scope, call: Call, arguments: Arguments) -> Any:
    if not scope.sees_job_snapshot(arguments["job_snapshot_id"]):
        raise Refused("this snapshot of a job")
    snapshot = call(**arguments)
    if snapshot.lineage_snapshot:
        scope.remember_job_snapshot(snapshot.lineage_snapshot.parent_snapshot_id)
    return snapshot


def _add_snapshot(argument: str, known: str, identify: Callable[[Any], str]) -> Rule:
    """Store a snapshot, unless there is one of the same content: its id is its hash, and others may be using it."""

    def rule(scope: Scope, call: Call, arguments: Arguments) -> Any:
        snapshot_id = identify(arguments[argument])
        storage = call.__self__  # type: ignore[attr-defined]
        return snapshot_id if getattr(storage, known)(snapshot_id) else call(**arguments)

    return rule


def _heartbeats(scope: Scope, call: Call, arguments: Arguments) -> Any:
    """Whether the daemon lives concerns everybody; its errors may be another tenant's."""
    found = call(**arguments)
    if not scope.confined:
        return found
    return {kind: heartbeat._replace(errors=[]) for kind, heartbeat in found.items()}


def _cursors(scope: Scope, call: Call, arguments: Arguments) -> Any:
    keys = set(arguments["keys"]) & _PUBLIC_CURSORS
    return call(keys=keys) if keys else {}


RUN_RULES: dict[str, Rule] = {
    "add_backfill": _change_backfill,
    "add_execution_plan_snapshot": _add_snapshot(
        "execution_plan_snapshot", "has_execution_plan_snapshot", create_execution_plan_snapshot_id
    ),
    "add_job_snapshot": _add_snapshot("job_snapshot", "has_job_snapshot", lambda snapshot: str(snapshot.snapshot_id)),
    "add_run": _add_run,
    "add_run_tags": _add_run_tags,
    "delete_run": _change_run,
    "dispose": ignored,
    "get_backfill": _backfill,
    "get_backfills": _backfills,
    "get_backfills_count": _count_of_backfills,
    "get_cursor_values": _cursors,
    "get_daemon_heartbeats": _heartbeats,
    # An execution plan's id is a hash of its content, and no query takes one: it is reached from a run alone.
    "get_execution_plan_snapshot": allowed,
    "get_job_snapshot": _job_snapshot,
    "get_run_group": _group_of_run,
    "get_run_ids": _ids_of_runs,
    "get_run_partition_data": _partitions_of_runs,
    "get_run_records": _page_of_runs,
    "get_run_tag_keys": _run_tag_keys,
    "get_run_tags": _run_tags,
    "get_runs": _page_of_runs,
    "get_runs_count": _count_of_runs,
    "handle_run_event": _change_run,
    "has_execution_plan_snapshot": allowed,
    "has_instance": allowed,
    "has_job_snapshot": _has_job_snapshot,
    "has_run": _has_run,
    "register_instance": ignored,
    "supports_bucket_queries": allowed,
    "supports_run_telemetry": answered(False),
    "update_backfill": _change_backfill,
}
# What no request of a user who is not an administrator has to do with.
RUN_REFUSED = frozenset(
    {
        "add_daemon_heartbeat",
        "add_historical_run",
        "add_run_telemetry",
        "add_snapshot",
        "alembic_version",
        "has_snapshot",
        "migrate",
        "optimize",
        "optimize_for_webserver",
        "replace_job_origin",
        "set_cursor_values",
        "wipe",
        "wipe_daemon_heartbeats",
    }
)
ScopedRunStorage = guarded(RunStorage, RUN_RULES, RUN_REFUSED)
