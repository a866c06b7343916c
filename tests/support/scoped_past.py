"""The past of the scoped world's two tenants: the same done to both, by GraphQL where a person would do it so."""

from __future__ import annotations

import json
import time
from typing import Any

from dagster import AssetKey, DagsterInstance
from dagster._core.asset_graph_view.serializable_entity_subset import SerializableEntitySubset
from dagster._core.definitions.declarative_automation.serialized_objects import (
    AutomationConditionEvaluation,
    AutomationConditionEvaluationWithRunIds,
    AutomationConditionNodeSnapshot,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from tests.support.scoped_world import ALPACA, REPOSITORY, ZEBRA, Past, World, selector

RUNS_TIMEOUT_SECONDS = 120.0

_LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
_BACKFILL = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on Error { message } } }"""
_ADD_PARTITION = """mutation($s: RepositorySelector!, $d: String!, $k: String!) {
    addDynamicPartition(repositorySelector: $s, partitionsDefName: $d, partitionKey: $k) { __typename } }"""
_REPOSITORY = """query($s: RepositorySelector!) {
    repositoryOrError(repositorySelector: $s) { ... on Repository { id } } }"""
_REPORT = (
    """mutation($e: ReportRunlessAssetEventsParams!) { reportRunlessAssetEvents(eventParams: $e) { __typename } }"""
)


def give_a_past(world: World) -> None:
    """Do the same to both tenants, by GraphQL where a person would, and wait until all runs have ended."""
    for tenant in (ALPACA, ZEBRA):
        named = world.ask("administrator", _REPOSITORY, s=selector(tenant))
        world.past[tenant] = past = Past(tenant, named["data"]["repositoryOrError"]["id"])
        _launch_runs(world, past)
        _launch_backfills(world, past)
    for past in world.past.values():
        _let_instigators_tick(world, past)
        _use_a_pool(world, past)
        _evaluate(world, past)
    errors = [SerializableErrorInfo("zebra_daemon_error", [], "Error")]
    world.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "daemon", errors))
    world.instance.event_log_storage.set_concurrency_slots("zebra_unused_pool", 2)
    _wait_for_runs(world.instance)
    for past in world.past.values():
        for name, run_id in past.runs.items():
            run = world.instance.get_run_by_id(run_id)
            assert run is not None
            past.snapshots[name] = str(run.job_snapshot_id)
        past.log_keys += _keys_of_output(world.instance, past.runs["assets"])


def launch(world: World, user: str, params: dict[str, Any], tags: dict[str, str] | None = None, **metadata: Any) -> Any:
    """Launch a run; the answer's `launchRun`, or all of it."""
    listed = [{"key": key, "value": value} for key, value in (tags or {}).items()]
    params = {"mode": "default", "runConfigData": {}, "executionMetadata": {"tags": listed, **metadata}, **params}
    answer = world.ask(user, _LAUNCH, p=params)
    return (answer.get("data") or {}).get("launchRun") or answer


def _launch_runs(world: World, past: Past) -> None:
    tenant = past.tenant
    names = ["orders", "boom", *(["depended_on", "claimed"] if tenant == ZEBRA else [])]
    launches = {
        "nightly": {
            "selector": selector(tenant, jobName="nightly"),
            "runConfigData": {"ops": {"step": {"config": {"word": f"{tenant}_configured"}}}},
        },
        "assets": {
            "selector": selector(
                tenant, jobName="__ASSET_JOB", assetSelection=[{"path": [tenant, name]} for name in names]
            )
        },
    }
    for name, params in launches.items():
        answer = launch(world, "administrator", params, {f"{tenant}_run_tag": f"{tenant}_run_value"})
        past.runs[name] = answer["run"]["runId"]
    description = f"{tenant}_reported"
    event = {"eventType": "ASSET_MATERIALIZATION", "assetKey": {"path": [tenant, "orders"]}, "description": description}
    assert world.ask("administrator", _REPORT, e=event)["data"]
    added = {"s": selector(tenant), "d": f"{tenant}_dynamic", "k": f"{tenant}_partition"}
    assert world.ask("administrator", _ADD_PARTITION, **added)["data"]


def _launch_backfills(world: World, past: Past) -> None:
    tenant = past.tenant
    kinds = {
        "job": {
            "selector": {"repositorySelector": selector(tenant), "partitionSetName": "partitioned_partition_set"},
            "tags": [{"key": f"{tenant}_backfill_tag", "value": "1"}],
        },
        "assets": {"assetSelection": [{"path": [tenant, "joined"]}]},
    }
    for name, params in kinds.items():
        params = {**params, "partitionNames": ["p1"], "title": f"{tenant}_{name}_backfill"}
        past.backfills[name] = world.ask("administrator", _BACKFILL, p=params)["data"]["launchPartitionBackfill"][
            "backfillId"
        ]
    log_key = ["backfill", past.backfills["assets"], "20260101_000000"]
    _write_output(world.instance, log_key, f"{tenant}_backfill_logged")
    past.log_keys.append(log_key)


def _let_instigators_tick(world: World, past: Past) -> None:
    location = world.process.get_current_workspace().code_location_entries[past.tenant].code_location
    assert location is not None
    repository = location.get_repository(REPOSITORY)
    for instigator, kind in (
        (repository.get_sensor("watcher"), InstigatorType.SENSOR),
        (repository.get_schedule("nightly_schedule"), InstigatorType.SCHEDULE),
    ):
        origin = instigator.get_remote_origin()
        if kind is InstigatorType.SENSOR:
            data = SensorInstigatorData(cursor=f"{past.tenant}_cursor")
            world.instance.add_instigator_state(InstigatorState(origin, kind, InstigatorStatus.RUNNING, data))
        tick = world.instance.create_tick(
            TickData(
                origin.get_id(),
                instigator.name,
                kind,
                TickStatus.FAILURE,
                time.time(),
                error=SerializableErrorInfo(f"{past.tenant}_tick_error", [], "Error"),
                selector_id=instigator.selector_id,
                run_ids=[past.runs["nightly"]],
            )
        )
        log_key = [REPOSITORY, instigator.name, str(tick.tick_id)]
        world.instance.update_tick(tick.with_log_key(log_key))
        _write_output(world.instance, log_key, f"{past.tenant}_tick_logged")
        past.log_keys.append(log_key)
        past.instigators[instigator.name] = (origin.get_id(), instigator.selector_id, tick.tick_id)


def _write_output(instance: DagsterInstance, log_key: list[str], message: str) -> None:
    line = json.dumps({"msg": message, "orig_message": message, "levelno": 20})
    with instance.compute_log_manager.open_log_stream(log_key, ComputeIOType.STDERR) as stream:
        assert stream is not None
        stream.write(line + "\n")


def _use_a_pool(world: World, past: Past) -> None:
    storage = world.instance.event_log_storage
    storage.set_concurrency_slots(f"{past.tenant}_pool", 2)
    storage.claim_concurrency_slot(f"{past.tenant}_pool", past.runs["nightly"], f"{past.tenant}_claiming_step")


def _evaluate(world: World, past: Past) -> None:
    key = AssetKey([past.tenant, "orders"])
    subset = SerializableEntitySubset(key, True)
    evaluation = AutomationConditionEvaluation(
        condition_snapshot=AutomationConditionNodeSnapshot(
            "Condition", f"{past.tenant}_condition", "unique", None, None
        ),
        start_timestamp=1.0,
        end_timestamp=2.0,
        true_subset=subset,
        candidate_subset=subset,
        subsets_with_metadata=[],
        child_evaluations=[],
    )
    recorded = AutomationConditionEvaluationWithRunIds(evaluation, frozenset({past.runs["assets"]}))
    assert world.instance.schedule_storage is not None
    world.instance.schedule_storage.add_auto_materialize_asset_evaluations(7, [recorded])


def _wait_for_runs(instance: DagsterInstance) -> None:
    end = time.monotonic() + RUNS_TIMEOUT_SECONDS
    while unfinished := [run for run in instance.get_runs() if not run.is_finished]:
        assert time.monotonic() < end, [(run.run_id, run.status) for run in unfinished]
        time.sleep(0.2)


def _keys_of_output(instance: DagsterInstance, run_id: str) -> list[list[str]]:
    keys = []
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.event_type_value == "LOGS_CAPTURED":
            keys.append([run_id, "compute_logs", event.event_specific_data.file_key])  # type: ignore[union-attr]
    assert keys
    return keys
