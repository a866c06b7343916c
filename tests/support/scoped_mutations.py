"""Every mutation of the schema about one tenant, how it is sent, and what mutations could have changed."""

from __future__ import annotations

from typing import Any

from dagster import DagsterInstance

from tests.support.graphql_walk import SCHEMA, EnumValue, Growth, Names, Node, as_text
from tests.support.scoped_world import ALPACA, ZEBRA, Past, World, selector


def state_of(instance: DagsterInstance) -> dict[str, Any]:
    """What mutations change, so that before and after can be compared."""
    storage = instance.event_log_storage
    assert instance.schedule_storage is not None
    states = instance.schedule_storage.all_instigator_state()
    return {
        "runs": sorted((run.run_id, run.status.value, sorted(run.tags.items())) for run in instance.get_runs()),
        "backfills": sorted((backfill.backfill_id, backfill.status.value) for backfill in instance.get_backfills()),
        "instigators": sorted((state.selector_id, state.status.value, str(state.instigator_data)) for state in states),
        "partitions": {name: sorted(instance.get_dynamic_partitions(f"{name}_dynamic")) for name in (ALPACA, ZEBRA)},
        "assets": sorted(key.to_string() for key in instance.all_asset_keys()),
        "events": storage.get_maximum_record_id(),
        "pools": sorted((pool.name, pool.limit) for pool in storage.get_pool_limits()),
        "claims": sorted(storage.get_concurrency_run_ids()),
        "paused": instance.daemon_cursor_storage.get_cursor_values({"ASSET_DAEMON_PAUSED"}),
    }


def mutations_of(past: Past, asset: str = "orders") -> list[tuple[str, dict[str, Any]]]:
    """Every mutation, about one tenant; several forms of those that can be said in several ways."""
    tenant = past.tenant
    key = {"path": [tenant, asset]}
    job = {"selector": selector(tenant, jobName="nightly"), "mode": "default", "runConfigData": {}}
    asset_job = {**job, "selector": selector(tenant, jobName="__ASSET_JOB", assetSelection=[key])}
    again = {
        **job,
        "executionMetadata": {"parentRunId": past.runs["nightly"], "rootRunId": past.runs["nightly"], "tags": []},
    }
    schedule = selector(tenant, scheduleName="nightly_schedule")
    sensor = selector(tenant, sensorName="watcher")
    ids = {name: f"{origin}::{chosen}" for name, (origin, chosen, _) in past.instigators.items()}
    schedule_origin, schedule_selector, _ = past.instigators["nightly_schedule"]
    sensor_origin, sensor_selector, _ = past.instigators["watcher"]
    all_steps = EnumValue("ALL_STEPS")
    partitions = {"partitionsDefName": f"{tenant}_dynamic", "repositorySelector": selector(tenant)}
    nightly, assets = past.runs["nightly"], past.runs["assets"]
    backfill_of_job = {"repositorySelector": selector(tenant), "partitionSetName": "partitioned_partition_set"}
    return [
        ("launchRun", {"executionParams": job}),
        ("launchRun", {"executionParams": asset_job}),
        ("launchPipelineExecution", {"executionParams": job}),
        ("launchMultipleRuns", {"executionParamsList": [job, asset_job]}),
        ("launchRunReexecution", {"reexecutionParams": {"parentRunId": assets, "strategy": all_steps}}),
        ("launchPipelineReexecution", {"executionParams": again}),
        ("startSchedule", {"scheduleSelector": schedule}),
        ("resetSchedule", {"scheduleSelector": schedule}),
        ("stopRunningSchedule", {"id": ids["nightly_schedule"]}),
        ("stopRunningSchedule", {"scheduleOriginId": schedule_origin, "scheduleSelectorId": schedule_selector}),
        ("startSensor", {"sensorSelector": sensor}),
        ("setSensorCursor", {"sensorSelector": sensor, "cursor": "moved"}),
        ("resetSensor", {"sensorSelector": sensor}),
        ("stopSensor", {"id": ids["watcher"]}),
        ("stopSensor", {"jobOriginId": sensor_origin, "jobSelectorId": sensor_selector}),
        ("sensorDryRun", {"selectorData": sensor, "cursor": "c"}),
        ("scheduleDryRun", {"selectorData": schedule, "timestamp": 1.0}),
        (
            "reportRunlessAssetEvents",
            {"eventParams": {"eventType": EnumValue("ASSET_MATERIALIZATION"), "assetKey": key, "description": "said"}},
        ),
        ("reportAssetCheckEvaluations", {"eventParams": {"assetKey": key, "checkName": "check", "passed": True}}),
        ("launchPartitionBackfill", {"backfillParams": {"selector": backfill_of_job, "partitionNames": ["p1"]}}),
        (
            "launchPartitionBackfill",
            {"backfillParams": {"assetSelection": [{"path": [tenant, "joined"]}], "partitionNames": ["p1"]}},
        ),
        ("launchPartitionBackfill", {"backfillParams": {"assetSelection": [key], "allPartitions": True}}),
        ("resumePartitionBackfill", {"backfillId": past.backfills["job"]}),
        (
            "reexecutePartitionBackfill",
            {"reexecutionParams": {"parentRunId": past.backfills["job"], "strategy": all_steps}},
        ),
        ("cancelPartitionBackfill", {"backfillId": past.backfills["job"]}),
        ("cancelPartitionBackfill", {"backfillId": past.backfills["assets"]}),
        ("addDynamicPartition", {**partitions, "partitionKey": "added"}),
        ("deleteDynamicPartitions", {**partitions, "partitionKeys": [f"{tenant}_partition"]}),
        (
            "setAppManagedComponent",
            {"attributes": "{}", "componentId": "c", "componentType": "t", "locationName": tenant},
        ),
        ("deleteAppManagedComponent", {"componentId": "c", "locationName": tenant}),
        ("refreshComponentState", {"defsStateKey": "k", "locationName": tenant}),
        ("terminateRun", {"runId": nightly, "terminatePolicy": EnumValue("MARK_AS_CANCELED_IMMEDIATELY")}),
        ("terminatePipelineExecution", {"runId": nightly}),
        ("terminateRuns", {"runIds": [nightly, assets]}),
        ("setAutoMaterializePaused", {"paused": True}),
        ("setConcurrencyLimit", {"concurrencyKey": f"{tenant}_pool", "limit": 1}),
        ("freeConcurrencySlots", {"runId": nightly}),
        ("freeConcurrencySlotsForRun", {"runId": nightly}),
        ("deleteConcurrencyLimit", {"concurrencyKey": f"{tenant}_pool"}),
        ("logTelemetry", {"action": "a", "clientId": "c", "clientTime": "1", "metadata": "{}"}),
        ("setNuxSeen", {}),
        ("reloadRepositoryLocation", {"repositoryLocationName": tenant}),
        ("reloadWorkspace", {}),
        ("wipeAssets", {"assetPartitionRanges": [{"assetKey": key}]}),
        ("deletePipelineRun", {"runId": nightly}),
        ("deleteRun", {"runId": assets}),
        ("shutdownRepositoryLocation", {"repositoryLocationName": tenant}),
    ]


def send(world: World, user: str, past: Past, name: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """Ask for a mutation, and of its answer all that is two fields deep; the question and the answer."""
    below = Growth(Names(past), 0, depth=2, most=400).below(SCHEMA.mutation_type.fields[name].type)  # type: ignore[union-attr]
    question = "mutation { " + as_text({name: Node(name, arguments, below)}) + " }"
    answer = world.http(user, "POST", "/graphql", json={"query": question})
    assert answer.status_code != 400, answer.text
    return question, answer.text
