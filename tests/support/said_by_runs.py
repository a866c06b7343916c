"""A run that says everything that a run can, as Dagster itself says it, and what a database then holds.

The same entries are stored in one way and in another, and the rows compared: all of them but the numbers of assets'
rows, which follow from the order in which they were first written.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import logging
import re
from collections.abc import Iterator
from typing import Any

import dagster as dg

from tests.support.postgres import Postgres

PARTITIONS = dg.StaticPartitionsDefinition(["one", "two"])
# Of each table, its columns but those that a clock or a sequence of their own fills.
TABLES = {
    "event_logs": 'id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, "partition"',
    "asset_keys": "asset_key, last_materialization, last_run_id, asset_details, wipe_timestamp,"
    " last_materialization_timestamp, tags, cached_status_data",
    "asset_event_tags": "event_id, asset_key, key, value, event_timestamp",
    "asset_check_executions": 'asset_key, check_name, "partition", run_id, execution_status, evaluation_event,'
    " evaluation_event_timestamp, evaluation_event_storage_id, materialization_event_storage_id",
}
_NUMBERS_OF_EVENTS = ("id", "event_id", "evaluation_event_storage_id")


@dg.asset(check_specs=[dg.AssetCheckSpec("holds", asset="loaded"), dg.AssetCheckSpec("fails", asset="loaded")])
def loaded(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """Says lines of its own, observes, materializes with metadata and tags, and has checks that pass and fail."""
    context.log.info("a line with 'quotes', a \\ and a ü")
    yield dg.AssetObservation("loaded", metadata={"seen": 1}, tags={"who": "me"})
    yield dg.AssetObservation("elsewhere", metadata={"seen": 2})
    yield dg.MaterializeResult(
        metadata={"rows": 7, "text": dg.MetadataValue.md("a % b")}, tags={"a": "b"}, data_version=dg.DataVersion("v1")
    )
    yield dg.AssetCheckResult(check_name="holds", passed=True, metadata={"of": 3})
    yield dg.AssetCheckResult(check_name="fails", passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(deps=[loaded], partitions_def=PARTITIONS)
def daily(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Has partitions."""
    return dg.MaterializeResult(metadata={"partition": context.partition_key})


@dg.asset(deps=[daily], partitions_def=PARTITIONS)
def broken() -> None:
    """Fails."""
    raise ValueError("as it is meant to")


def definitions() -> dg.Definitions:
    """The three, and a job of them."""
    job = dg.define_asset_job("all", executor_def=dg.in_process_executor)
    return dg.Definitions([loaded, daily, broken], jobs=[job])


def said_by_a_run(partition: str = "one") -> list[dg.EventLogEntry]:
    """Every entry that a run of them stores, in order."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with dg.DagsterInstance.ephemeral() as instance:
        ended = (
            definitions()
            .resolve_job_def("all")
            .execute_in_process(partition_key=partition, instance=instance, raise_on_error=False)
        )
        return list(instance.all_logs(ended.run_id))


def stored(postgres: Postgres, table: str) -> list[tuple[Any, ...]]:
    """A table's rows, in an order that is the same for the same rows.

    An event's number is its place among all of them: a server that has crashed leaves some numbers out.
    """
    places = {number: place for place, (number,) in enumerate(postgres.rows("select id from event_logs order by id"))}
    columns = [column.strip(' "') for column in TABLES[table].split(",")]

    def placed(column: str, value: Any) -> Any:
        if column in _NUMBERS_OF_EVENTS:
            return places[value]
        if column == "last_materialization" and value:
            return re.sub(r'("storage_id": )(\d+)', lambda found: f"{found[1]}{places[int(found[2])]}", value)
        return value

    rows = postgres.rows(f"select {TABLES[table]} from {table}")
    return sorted((tuple(map(placed, columns, row)) for row in rows), key=repr)
