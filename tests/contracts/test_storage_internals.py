"""What our storages use of Dagster's beyond public names is still there, in the form in which it is used."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any

import dagster
import dagster_postgres
import pytest

from dagster_apollo.runs import event_log, pooled_storages, storage, storage_internals
from tests.support.package_source import modules_of

ADAPTER = "dagster_apollo.runs.storage_internals"
# Classes that we inherit from or hand out: the members that we override or call.
MEMBERS: dict[str, tuple[str, ...]] = {
    "ConfigurableClass": ("inst_data", "config_type", "from_config_value"),
    "ConfigurableClassData": ("rehydrate", "module_name", "class_name", "config_yaml"),
    "DagsterSqliteStorage": ("from_local", "event_log_storage", "run_storage", "schedule_storage", "register_instance"),
    "DagsterStorage": ("event_log_storage", "run_storage", "schedule_storage", "register_instance"),
    "ExecutionPlanSnapshot": ("job_snapshot_id", "steps"),
    "EventLogEntry": ("dagster_event", "is_dagster_event", "dagster_event_type", "get_dagster_event", "run_id"),
    "EventLogStorage": ("get_maximum_record_id", "get_asset_records", "get_logs_for_run", "check_concurrency_claim"),
    "PostgresEventLogStorage": (
        "_connect", "_event_to_row", "_get_asset_entry_values", "_has_asset_key_col_on_connection",
        "_store_asset_event_tags", "has_asset_key_col", "has_concurrency_limits_table", "has_default_pool_limit_col",
        "has_secondary_index", "has_table", "index_connection", "optimize_for_webserver", "run_connection",
        "store_asset_check_event", "store_event", "store_event_batch", "supports_global_concurrency_limits",
    ),
    "PostgresRunStorage": (
        "connect", "dispose", "has_backfill_id_column", "has_backfill_tags_table", "has_bulk_action_job_name_column",
        "has_bulk_actions_selector_cols", "has_execution_plan_snapshot", "has_run_stats_index_cols",
        "optimize_for_webserver", "_has_snapshot_id",
    ),
    "PostgresScheduleStorage": (
        "_has_asset_daemon_asset_evaluations_table", "_has_instigators_table", "connect", "has_instigators_table",
        "has_secondary_index_table", "optimize_for_webserver",
    ),
    "RunStorage": ("get_runs", "has_job_snapshot", "has_execution_plan_snapshot", "get_run_tags"),
    "ScheduleStorage": ("all_instigator_state",),
}  # fmt: skip
# Methods that we override or call: their parameters.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "PostgresEventLogStorage.__init__": (
        "self", "postgres_url", "should_autocreate_tables", "inst_data", "token_provider",
    ),
    "PostgresEventLogStorage._connect": ("self",),
    "PostgresEventLogStorage._event_to_row": ("self", "event"),
    "PostgresEventLogStorage._get_asset_entry_values": ("self", "event", "event_id", "has_asset_key_index_cols"),
    "PostgresEventLogStorage._has_asset_key_col_on_connection": ("self", "conn", "column_name"),
    "PostgresEventLogStorage._store_asset_event_tags": ("self", "conn", "events", "event_ids"),
    "PostgresEventLogStorage.has_asset_key_col": ("self", "column_name"),
    "PostgresEventLogStorage.has_table": ("self", "table_name"),
    "PostgresEventLogStorage.index_connection": ("self",),
    "PostgresEventLogStorage.store_asset_check_event": ("self", "event", "event_id"),
    "PostgresEventLogStorage.store_event": ("self", "event"),
    "PostgresEventLogStorage.store_event_batch": ("self", "events"),
    "PostgresRunStorage.__init__": (
        "self", "postgres_url", "should_autocreate_tables", "inst_data", "token_provider",
    ),
    "PostgresRunStorage.connect": ("self",),
    "PostgresScheduleStorage.__init__": (
        "self", "postgres_url", "should_autocreate_tables", "inst_data", "token_provider",
    ),
    "PostgresScheduleStorage.connect": ("self", "run_id"),
}  # fmt: skip
COLUMNS: dict[str, set[str]] = {
    "SqlEventLogStorageTable": {
        "id", "run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition",
    },
    "AssetKeyTable": {
        "id", "asset_key", "last_materialization", "last_run_id", "asset_details", "wipe_timestamp",
        "last_materialization_timestamp", "tags", "create_timestamp", "cached_status_data",
    },
    "AssetEventTagsTable": {"id", "event_id", "asset_key", "key", "value", "event_timestamp"},
    "AssetCheckExecutionsTable": {
        "id", "asset_key", "check_name", "partition", "run_id", "execution_status", "evaluation_event",
        "evaluation_event_timestamp", "evaluation_event_storage_id", "materialization_event_storage_id",
        "create_timestamp",
    },
}  # fmt: skip
CONSTANTS = {"ASSET_EVENTS", "ASSET_CHECK_EVENTS", "ASSET_KEY_INDEX_COLS"}
# Modules of which we replace a function, with how it is called there; and functions that we call.
REPLACED = {
    "execution_plan_snapshot": {"create_snapshot_id(execution_plan_snapshot)"},
    "run_storage": {"serialize_value(daemon_heartbeat)", "serialize_value(snapshot_obj)"},
}
CALLED = {"hash_str", "serialize_value"}
# What Dagster's own methods do when an event is stored. Who changes one of these changes what our rows have to be.
STEPS_OF_STORE_EVENT = [
    "prepare_insert_event", "_connect", "_store_asset_event_tags", "_store_asset_event", "index_transaction",
    "store_asset_check_event",
]  # fmt: skip


def moved(what: str) -> str:
    return (
        f"{what}. dagster {dagster.__version__}, dagster-postgres {dagster_postgres.__version__}: what our storages"
        " rely on has moved; mend dagster_apollo/runs/event_log.py and its neighbours"
    )


def test_every_name_of_the_adapter_is_held_here() -> None:
    imported = {entry.name for entry in modules_of()[ADAPTER].imports if entry.module.startswith("dagster")}

    assert imported == {*MEMBERS, *COLUMNS, *CONSTANTS, *REPLACED, *CALLED}, "hold the new name to its form"


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_what_we_use_is_there(name: str, members: tuple[str, ...]) -> None:
    kind: Any = getattr(storage_internals, name)
    known = {*dir(kind), *getattr(kind, "__annotations__", {}), *inspect.signature(kind).parameters}

    gone = [member for member in members if member not in known]
    assert gone == [], moved(f"{name} has no {', '.join(gone)}")


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items(), ids=PARAMETERS)
def test_what_we_override_or_call_is_called_the_same_way(name: str, parameters: tuple[str, ...]) -> None:
    kind, _, method = name.partition(".")
    found = tuple(inspect.signature(getattr(getattr(storage_internals, kind), method)).parameters)

    assert found == parameters, moved(f"{name} takes {', '.join(found)}")


@pytest.mark.parametrize(("name", "columns"), COLUMNS.items(), ids=COLUMNS)
def test_a_table_has_the_columns_that_we_write(name: str, columns: set[str]) -> None:
    assert set(getattr(storage_internals, name).c.keys()) == columns, moved(f"the columns of {name}")


@pytest.mark.parametrize(("name", "calls"), REPLACED.items(), ids=REPLACED)
def test_what_we_replace_is_called_as_it_was(name: str, calls: set[str]) -> None:
    nodes = ast.walk(ast.parse(inspect.getsource(getattr(storage_internals, name))))
    functions = {call.partition("(")[0] for call in calls}
    found = {ast.unparse(node) for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) in functions}

    assert found == calls, moved(f"{name} calls {', '.join(sorted(found))}")


def test_storing_an_event_has_the_steps_that_we_take() -> None:
    source = inspect.getsource(storage_internals.PostgresEventLogStorage.store_event)
    calls = [node.func for node in ast.walk(ast.parse(textwrap.dedent(source))) if isinstance(node, ast.Call)]
    called = {function.attr for function in calls if isinstance(function, ast.Attribute)}

    assert set(STEPS_OF_STORE_EVENT) <= called, moved("PostgresEventLogStorage.store_event takes other steps")
    others = called - set(STEPS_OF_STORE_EVENT) - {"inst_param", "execute", "returning", "fetchone", "close", "text"}
    assert others == set(), moved(f"PostgresEventLogStorage.store_event now also calls {', '.join(sorted(others))}")


@pytest.mark.parametrize(
    "kind",
    [
        storage.InstanceStorage,
        storage.PooledPostgresStorage,
        pooled_storages.PooledRunStorage,
        pooled_storages.PooledScheduleStorage,
        event_log.PooledEventLogStorage,
    ],
)
def test_our_storages_leave_no_abstract_member_open(kind: Any) -> None:
    left = sorted(kind.__abstractmethods__)

    assert left == [], moved(f"{kind.__name__} must now also have {', '.join(left)}")


def test_what_is_repeated_is_a_method_of_a_storage() -> None:
    kinds = (storage_internals.PostgresEventLogStorage, storage_internals.PostgresRunStorage)
    gone = [name for name in pooled_storages._REPEATABLE if not any(hasattr(kind, name) for kind in kinds)]

    assert gone == [], moved(f"no storage has {', '.join(gone)}")


def test_storages_start_from_one_folder(tmp_path: Path) -> None:
    backing = storage_internals.DagsterSqliteStorage.from_local(str(tmp_path))
    wrapped = storage.InstanceStorage(backing)

    for kind, base in (
        ("run_storage", storage_internals.RunStorage),
        ("event_log_storage", storage_internals.EventLogStorage),
        ("schedule_storage", storage_internals.ScheduleStorage),
    ):
        assert isinstance(getattr(wrapped, kind), base), moved(f"DagsterSqliteStorage.{kind} is something else")
    assert wrapped.run_storage.get_runs() == []
