"""Schedules, sensors, their ticks, automation evaluations and the state of components as one user sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagster_apollo.access.scoping.dagster_internals import DefsStateStorage, ScheduleStorage
from dagster_apollo.access.scoping.guarded import Arguments, Call, Rule, allowed, guarded, ignored
from dagster_apollo.access.scoping.scope import Refused, Scope, state_location


def _states(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    return [state for state in call(**arguments) if scope.sees(state_location(state))]


def _state(scope: Scope, call: Call, arguments: Arguments) -> Any:
    state = call(**arguments)
    return state if state and scope.sees(state_location(state)) else None


def _change_state(scope: Scope, call: Call, arguments: Arguments) -> Any:
    scope.require_location(state_location(arguments["state"]))
    return call(**arguments)


def _ticks(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    if not scope.sees_instigator(arguments["origin_id"], arguments["selector_id"]):
        return []
    return [tick for tick in call(**arguments) if scope.sees_tick(tick)]


def _tick_summaries(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    return list(call(**arguments)) if scope.sees_instigator(arguments["origin_id"], arguments["selector_id"]) else []


def _tick(scope: Scope, call: Call, arguments: Arguments) -> Any:
    tick = call(**arguments)
    if not scope.sees_tick(tick):
        raise Refused("this tick")
    return tick


def _ticks_by_id(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    return [tick for tick in call(**arguments) if scope.sees_tick(tick)]


def _batch_of_ticks(scope: Scope, call: Call, arguments: Arguments) -> dict[str, list[Any]]:
    found = call(**arguments)
    return {selector: [tick for tick in ticks if scope.sees_tick(tick)] for selector, ticks in found.items()}


def _evaluations(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    return list(call(**arguments)) if scope.sees_key(arguments["key"]) else []


def _evaluations_by_id(scope: Scope, call: Call, arguments: Arguments) -> list[Any]:
    return [record for record in call(**arguments) if scope.sees_key(record.key)]


SCHEDULE_RULES: dict[str, Rule] = {
    "add_instigator_state": _change_state,
    "all_instigator_state": _states,
    "dispose": ignored,
    "get_auto_materialize_asset_evaluations": _evaluations,
    "get_auto_materialize_evaluations_for_evaluation_id": _evaluations_by_id,
    "get_batch_ticks": _batch_of_ticks,
    "get_instigator_state": _state,
    "get_tick": _tick,
    "get_tick_summaries": _tick_summaries,
    "get_ticks": _ticks,
    "get_ticks_by_ids": _ticks_by_id,
    "has_instance": allowed,
    "register_instance": ignored,
    "supports_auto_materialize_asset_evaluations": allowed,
    "supports_batch_queries": allowed,
    "update_instigator_state": _change_state,
}
SCHEDULE_REFUSED = frozenset(
    {
        "add_auto_materialize_asset_evaluations",
        "alembic_version",
        "create_tick",
        "delete_instigator_state",
        "migrate",
        "optimize",
        "optimize_for_webserver",
        "purge_asset_evaluations",
        "purge_ticks",
        "update_tick",
        "upgrade",
        "wipe",
    }
)
ScopedScheduleStorage = guarded(ScheduleStorage, SCHEDULE_RULES, SCHEDULE_REFUSED)


def _unless_confined(nothing: Callable[[], Any]) -> Rule:
    """The state of components is kept by keys that name no tenant."""
    return lambda scope, call, arguments: nothing() if scope.confined else call(**arguments)


DEFS_STATE_RULES: dict[str, Rule] = {
    "get_latest_defs_state_info": _unless_confined(lambda: None),
    "get_latest_version": _unless_confined(lambda: None),
    "has_instance": allowed,
    "list_state_keys_with_prefix": _unless_confined(list),
    "register_instance": ignored,
}
DEFS_STATE_REFUSED = frozenset({"download_state_to_path", "get", "set_latest_version", "upload_state_from_path"})
ScopedDefsStateStorage = guarded(DefsStateStorage, DEFS_STATE_RULES, DEFS_STATE_REFUSED)
