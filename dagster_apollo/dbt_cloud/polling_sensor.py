"""Runs that dbt Cloud starts by itself, as events in Dagster: models materialized, tests as evaluations of checks.

dagster-dbt's `build_dbt_cloud_polling_sensor` is not used: it stops a tick at the first run without a materialization
and moves past those that came after it, it passes over tests, and it fails for ever on a model that the location does
not serve. Its translation of results into events is.

No `from __future__ import annotations` here: Dagster reads the annotations of a sensor as objects.
"""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from dagster_apollo.dbt.translation import TenantTranslator
from dagster_apollo.dbt_cloud.builds import NOT_CONNECTED, with_slim_ids
from dagster_apollo.dbt_cloud.client import CloudClient, open_workspace
from dagster_apollo.dbt_cloud.connection import Connection
from dagster_apollo.dbt_cloud.dagster_dbt_internals import DAGSTER_ADHOC_PREFIX, DbtCloudJobRunResults
from dagster_apollo.dbt_cloud.kept_state import names_of
from dagster_apollo.errors import DbtCloudError

SENSOR = "dbt_cloud_polling_sensor"
# Dagster gives a tick 60 s.
_TICK_SECONDS = 40.0
_REQUEST_SECONDS = 10
# Runs may show up later than they ended.
_OVERLAP = timedelta(minutes=5)
_FIRST_LOOK_BACK = timedelta(minutes=1)

_Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


def polling_sensor(
    name: str,
    connection: Connection | None,
    manifest: Mapping[str, Any],
    translator: TenantTranslator,
    poll_seconds: int,
    tags: Mapping[str, str],
) -> dg.SensorDefinition:
    """The sensor; running by declaration where there is a token.

    Args:
        name: the sensor's name.
        connection: the environment; None where there is no token.
        manifest: the slim manifest that the location serves.
        translator: names its nodes.
        poll_seconds: the least time between two looks.
        tags: the sensor's tags.
    """

    @dg.sensor(
        name=name,
        description="Records what runs that dbt Cloud started by itself have built and tested.",
        minimum_interval_seconds=poll_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if connection else dg.DefaultSensorStatus.STOPPED,
        tags=tags,
    )
    def dbt_cloud_polling_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if connection is None:
            return dg.SkipReason(str(NOT_CONNECTED))
        started, now = time.monotonic(), datetime.now(UTC)
        begun, since, seen = _read_cursor(context.cursor, now)
        client = open_workspace(connection, timeout_seconds=_REQUEST_SECONDS, tries=1).get_client()
        ours = _adhoc_jobs(client, connection)
        events: list[_Event] = []
        recorded = dict(seen)
        for run in _ended_runs(client, connection, max(begun, since - _OVERLAP), now):
            number, ended = int(run["id"]), _moment(run["finished_at"])
            if str(number) in seen:
                continue
            if time.monotonic() - started > _TICK_SECONDS:
                break  # the next tick goes on from here
            if run.get("job_definition_id") not in ours:
                found = list(_events_of(client, number, manifest, translator))
                context.log.info(f"dbt Cloud run {number} ({run.get('href')}): {len(found)} events")
                events += found
            recorded[str(number)] = ended.isoformat()
            since = max(since, ended)
        context.update_cursor(_cursor(begun, since, recorded))
        if not events:
            return dg.SkipReason(f"no run of dbt Cloud's own has ended since {since:%Y-%m-%d %H:%M:%S} UTC")
        return dg.SensorResult(asset_events=events)

    return dbt_cloud_polling_sensor


def _events_of(
    client: CloudClient, run_id: int, manifest: Mapping[str, Any], translator: TenantTranslator
) -> Iterator[_Event]:
    try:
        results = client.get_run_results_json(run_id)
    except DbtCloudError as error:
        if error.status == 404:  # it ended before dbt had results, or its last command has none
            return
        raise
    told = DbtCloudJobRunResults(run_id=run_id, run_results=with_slim_ids(results))
    for event in told.to_default_asset_events(client, manifest, translator):
        if isinstance(event, dg.AssetMaterialization | dg.AssetCheckEvaluation):
            yield event


def _adhoc_jobs(client: CloudClient, connection: Connection) -> set[int]:
    """Jobs whose runs Dagster has started, and recorded itself."""
    jobs = names_of(client.list_jobs(connection.project_id, connection.environment_id))
    return {number for number, name in jobs.items() if name.startswith(DAGSTER_ADHOC_PREFIX)}


def _ended_runs(
    client: CloudClient, connection: Connection, since: datetime, until: datetime
) -> Iterator[Mapping[str, Any]]:
    """Runs that ended in a span of time, the earliest first."""
    offset, total = 0, 1
    while offset < total:
        page, total = client.get_runs_batch(connection.project_id, connection.environment_id, since, until, offset)
        if not page:
            return
        yield from page
        offset += len(page)


def _read_cursor(text: str | None, now: datetime) -> tuple[datetime, datetime, dict[str, str]]:
    """When the sensor first looked, when the last run that it saw ended, and what it recorded shortly before that."""
    try:
        content = json.loads(text or "")
        begun, since = (datetime.fromisoformat(content[name]) for name in ("begun", "since"))
        return begun, since, dict(content["recorded"])
    except (ValueError, KeyError, TypeError):
        return now - _FIRST_LOOK_BACK, now - _FIRST_LOOK_BACK, {}


def _cursor(begun: datetime, since: datetime, recorded: Mapping[str, str]) -> str:
    kept = {number: ended for number, ended in recorded.items() if datetime.fromisoformat(ended) >= since - _OVERLAP}
    return json.dumps({"begun": begun.isoformat(), "since": since.isoformat(), "recorded": kept})


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
