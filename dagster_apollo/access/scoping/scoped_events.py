"""Event logs, assets, checks, dynamic partitions and pools as one user sees them.

An event is reached by its run or by its asset, and hidden where that is. What has no run and no asset, such as the
feed of all events, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from dagster import AssetKey

from dagster_apollo.access.scoping.dagster_internals import (
    AssetCheckKey,
    ConcurrencyKeyInfo,
    EventLogConnection,
    EventLogEntry,
    EventLogStorage,
    EventRecordsResult,
    PaginatedResults,
    copy_record,
)
from dagster_apollo.access.scoping.guarded import Arguments, Call, Rule, allowed, guarded, ignored
from dagster_apollo.access.scoping.scope import Refused, Scope

Nothing = Callable[[], Any]

# ---- by run


def _of_run(nothing: Nothing) -> Rule:
    return lambda scope, call, arguments: call(**arguments) if scope.sees_run(arguments["run_id"]) else nothing()


def _of_visible_run(scope: Scope, call: Call, arguments: Arguments) -> Any:
    if not scope.sees_run(arguments["run_id"]):
        raise Refused("this run")
    return call(**arguments)


def _change_run(scope: Scope, call: Call, arguments: Arguments) -> Any:
    scope.require_run(arguments["run_id"])
    return call(**arguments)


def _store(scope: Scope, call: Call, arguments: Arguments) -> Any:
    events: Iterable[EventLogEntry] = arguments["events"] if "events" in arguments else [arguments["event"]]
    for entry in events:
        if entry.run_id:
            scope.require_run(entry.run_id)
        else:
            scope.require_key(_key_of_event(entry))
    return call(**arguments)


def _key_of_event(entry: EventLogEntry) -> Any:
    event = entry.dagster_event
    if event is None:
        return None
    return event.asset_key or getattr(event.event_specific_data, "asset_key", None)


# ---- by asset


def _key(named: Any) -> Any:
    """The asset that an argument is about: a key, a check's key, a filter, or a pair that begins with one."""
    if isinstance(named, (AssetKey, AssetCheckKey)):
        return named
    return named[0] if isinstance(named, tuple) and named else getattr(named, "asset_key", None)


def _of_asset(argument: str, nothing: Nothing) -> Rule:
    def rule(scope: Scope, call: Call, arguments: Arguments) -> Any:
        return call(**arguments) if scope.sees_key(_key(arguments[argument])) else nothing()

    return rule


def _of_assets(argument: str, nothing: Nothing) -> Rule:
    """Ask for the visible ones alone; of none, where a list means "of all", of all that are visible."""

    def rule(scope: Scope, call: Call, arguments: Arguments) -> Any:
        if not scope.confined:
            return call(**arguments)
        asked = arguments.get(argument)
        wanted = scope.visible_keys() if asked is None else [entry for entry in asked if scope.sees_key(_key(entry))]
        return call(**{**arguments, argument: wanted}) if wanted else nothing()

    return rule


def _status_values(scope: Scope, call: Call, arguments: Arguments) -> Any:
    """In the order that was asked for: what is hidden is a gap, as an asset without a status is."""
    if not scope.confined:
        return call(**arguments)
    asked = list(arguments["partitions_defs_by_key"])
    visible = [pair for pair in asked if scope.sees_key(pair[0])]
    values = iter(call(**{**arguments, "partitions_defs_by_key": visible}) if visible else ())
    return [next(values) if scope.sees_key(pair[0]) else None for pair in asked]


def _event_records(scope: Scope, call: Call, arguments: Arguments) -> Any:
    key = arguments["event_records_filter"].asset_key
    return call(**arguments) if not scope.confined or (key and scope.sees_key(key)) else []


def _event_summaries(scope: Scope, call: Call, arguments: Arguments) -> Any:
    key, run_id = arguments.get("asset_key"), arguments.get("run_id")
    if not scope.confined or (key is not None and scope.sees_key(key)):
        return call(**arguments)
    if key is None and run_id is not None and scope.sees_run(run_id):
        return call(**arguments)
    return []


def _all_keys(scope: Scope, call: Call, arguments: Arguments) -> list[AssetKey]:
    return [key for key in call(**arguments) if scope.sees_key(key)]


def _page_of_keys(scope: Scope, call: Call, arguments: Arguments) -> Any:
    """Each tenant's keys are asked for by their prefix, so that a page stays a page."""
    if not scope.confined:
        return call(**arguments)
    prefix, limit = arguments.get("prefix"), arguments.get("limit")
    starts = [list(prefix)] if prefix else [[tenant] for tenant in sorted(scope.readable or ())]
    found: list[AssetKey] = []
    for start in starts:
        if not scope.sees(start[0]):
            continue
        keys = call(prefix=start, limit=None, cursor=arguments.get("cursor"))
        found += [key for key in keys if scope.sees_key(key)]
    found.sort(key=lambda key: key.to_string())
    return found[:limit] if limit else found


def _change_asset(scope: Scope, call: Call, arguments: Arguments) -> Any:
    scope.require_key(arguments["asset_key"])
    return call(**arguments)


# ---- dynamic partitions, which are kept by name


def _of_partitions(nothing: Callable[[Arguments], Any]) -> Rule:
    def rule(scope: Scope, call: Call, arguments: Arguments) -> Any:
        seen = scope.sees_dynamic_partitions(arguments["partitions_def_name"])
        return call(**arguments) if seen else nothing(arguments)

    return rule


def _no_page(arguments: Arguments) -> PaginatedResults[str]:
    return PaginatedResults.create_from_sequence([], arguments["limit"], arguments["ascending"], None)


def _change_partitions(scope: Scope, call: Call, arguments: Arguments) -> Any:
    scope.require_dynamic_partitions(arguments["partitions_def_name"])
    return call(**arguments)


# ---- pools


def _pool(scope: Scope, call: Call, arguments: Arguments) -> ConcurrencyKeyInfo:
    return _only_own_claims(scope, arguments["concurrency_key"], lambda: call(**arguments))


def _pools(scope: Scope, call: Call, arguments: Arguments) -> Any:
    asked = list(arguments["concurrency_keys"])
    if not scope.confined:
        return call(**arguments)
    visible = [pool for pool in asked if scope.sees_pool(pool)]
    found = call(concurrency_keys=visible) if visible else {}
    return {pool: _only_own_claims(scope, pool, partial(found.__getitem__, pool)) for pool in asked}


def _only_own_claims(scope: Scope, pool: str, read: Callable[[], ConcurrencyKeyInfo]) -> ConcurrencyKeyInfo:
    """A pool that is shared shows its size, and who of one's own uses it."""
    if not scope.confined:
        return read()
    if not scope.sees_pool(pool):  # as a pool that nobody has made
        return ConcurrencyKeyInfo(
            concurrency_key=pool, slot_count=0, claimed_slots=[], pending_steps=[], limit=None, using_default_limit=True
        )
    found = read()
    own: ConcurrencyKeyInfo = copy_record(
        found,
        claimed_slots=[slot for slot in found.claimed_slots if scope.sees_run(slot.run_id)],
        pending_steps=[step for step in found.pending_steps if scope.sees_run(step.run_id)],
    )
    return own


def _pool_names(scope: Scope, call: Call, arguments: Arguments) -> set[str]:
    return {pool for pool in call(**arguments) if scope.sees_pool(pool)}


def _pool_limits(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    return [limit for limit in call(**arguments) if scope.sees_pool(limit.name)]


def _runs_in_pools(scope: Scope, call: Call, arguments: Arguments) -> set[str]:
    return {run_id for run_id in call(**arguments) if scope.sees_run(run_id)}


def _no_records() -> EventRecordsResult:
    return EventRecordsResult(records=[], cursor="", has_more=False)


def _no_connection() -> EventLogConnection:
    return EventLogConnection(records=[], cursor="", has_more=False)


EVENT_RULES: dict[str, Rule] = {
    "add_dynamic_partitions": _change_partitions,
    "all_asset_keys": _all_keys,
    "asset_records_have_last_observation": allowed,
    "asset_records_have_last_planned_and_failed_materializations": allowed,
    "can_read_asset_status_cache": allowed,
    "can_store_asset_failure_events": allowed,
    "can_write_asset_status_cache": allowed,
    "default_run_scoped_event_tailer_offset": allowed,
    "delete_dynamic_partition": _change_partitions,
    "delete_events": _change_run,
    "dispose": ignored,
    "end_watch": allowed,
    "fetch_failed_materializations": _of_asset("records_filter", _no_records),
    "fetch_materializations": _of_asset("records_filter", _no_records),
    "fetch_observations": _of_asset("records_filter", _no_records),
    "free_concurrency_slot_for_step": _change_run,
    "free_concurrency_slots_for_run": _change_run,
    "get_asset_check_execution_history": _of_asset("check_key", list),
    "get_asset_check_partition_info": _of_assets("keys", list),
    "get_asset_check_state": _of_assets("keys", dict),
    "get_asset_check_summary_records": _of_assets("asset_check_keys", dict),
    "get_asset_event_summary_records": _event_summaries,
    "get_asset_keys": _page_of_keys,
    "get_asset_keys_for_run": _of_run(set),
    "get_asset_partitions_for_run": _of_run(dict),
    "get_asset_records": _of_assets("asset_keys", list),
    "get_asset_status_cache_values": _status_values,
    "get_asset_tags_to_index": allowed,
    "get_checkpointed_asset_check_state": _of_assets("keys", dict),
    "get_concurrency_info": _pool,
    "get_concurrency_infos": _pools,
    "get_concurrency_keys": _pool_names,
    "get_concurrency_run_ids": _runs_in_pools,
    "get_dynamic_partitions": _of_partitions(lambda arguments: []),
    "get_event_records": _event_records,
    "get_event_tags_for_asset": _of_asset("asset_key", list),
    "get_existing_dynamic_partitions": _of_partitions(lambda arguments: set()),
    "get_freshness_state_records": _of_assets("keys", dict),
    "get_latest_asset_check_execution_by_key": _of_assets("check_keys", dict),
    "get_latest_asset_partition_materialization_attempts_without_materializations": _of_asset("asset_key", dict),
    "get_latest_materialization_events": _of_assets("asset_keys", dict),
    "get_latest_materialization_storage_ids": _of_assets("asset_keys", dict),
    "get_latest_planned_materialization_info": _of_asset("asset_key", lambda: None),
    "get_latest_storage_id_by_partition": _of_asset("asset_key", dict),
    "get_latest_tags_by_partition": _of_asset("asset_key", dict),
    "get_logs_for_run": _of_run(list),
    "get_materialized_partitions": _of_asset("asset_key", set),
    "get_maximum_record_id": allowed,
    "get_paginated_dynamic_partitions": _of_partitions(_no_page),
    "get_pool_config": allowed,
    "get_pool_limits": _pool_limits,
    "get_records_for_run": _of_run(_no_connection),
    "get_stats_for_run": _of_visible_run,
    "get_step_stats_for_run": _of_run(list),
    "get_updated_data_version_partitions": _of_asset("asset_key", set),
    "handles_run_events_in_store_event": allowed,
    "has_asset_key": _of_asset("asset_key", lambda: False),
    "has_bounded_dynamic_partition_membership_query": allowed,
    "has_dynamic_partition": _of_partitions(lambda arguments: False),
    "has_instance": allowed,
    "is_persistent": allowed,
    "is_run_sharded": allowed,
    "register_instance": ignored,
    "store_event": _store,
    "store_event_batch": _store,
    "supports_asset_checks": allowed,
    "supports_global_concurrency_limits": allowed,
    "supports_partition_subset_in_asset_materialization_planned_events": allowed,
    "supports_run_status_change_job_name_filter": allowed,
    # The cache is written by who reads a status first, so seeing is enough.
    "update_asset_cached_status_data": _of_asset("asset_key", lambda: None),
    "watch": _of_visible_run,
    "wipe_asset": _change_asset,
    "wipe_asset_cached_status": _change_asset,
    "wipe_asset_partitions": _change_asset,
}
EVENT_REFUSED = frozenset(
    {
        "alembic_version",
        "check_concurrency_claim",
        "claim_concurrency_slot",
        "delete_concurrency_limit",
        "fetch_run_status_changes",
        "get_logs_for_all_runs_by_log_id",
        "initialize_concurrency_limit_to_default",
        "optimize_for_webserver",
        "reindex_assets",
        "reindex_events",
        "set_concurrency_slots",
        "upgrade",
        "wipe",
    }
)
ScopedEventLogStorage = guarded(EventLogStorage, EVENT_RULES, EVENT_REFUSED)
