"""What queue, launcher, watch and recovery use of Dagster beyond its public names is still there as we use it."""

from __future__ import annotations

import inspect
import time
from typing import Any

import dagster
import pytest
from dagster._daemon.controller import create_daemon_of_type

from dagster_apollo.runs import daemon_internals
from tests.support.package_source import modules_of

ADAPTER = "dagster_apollo.runs.daemon_internals"


def moved(what: str) -> str:
    return f"{what}. dagster {dagster.__version__}: what we rely on has moved; mend {ADAPTER} and who uses it"


PARAMETERS: dict[str, tuple[str, ...]] = {
    "CheckRunHealthResult": ("status", "msg"),
    "DagsterGrpcClient": ("port", "socket", "host", "use_ssl"),
    "EngineEventData": ("metadata",),
    "EventLogConsumerDaemon": ("interval_seconds",),
    "JobFailureData": ("error", "failure_reason"),
    "JobSubsetSelector": (
        "location_name", "repository_name", "job_name", "op_selection", "asset_selection", "asset_check_selection",
    ),
    "LaunchRunContext": ("dagster_run", "workspace"),
    "MonitoringDaemon": ("interval_seconds",),
    "QueuedRunCoordinatorDaemon": ("interval_seconds",),
    "SubmitRunContext": ("dagster_run", "workspace"),
    "deserialize_value": ("val", "as_type"),
    "filter_runs_to_should_retry": ("runs", "instance"),
    "serializable_error_info_from_exc_info": ("exc_info",),
}  # fmt: skip
MEMBERS: dict[str, tuple[str, ...]] = {
    "BaseWorkspaceRequestContext": ("get_code_location",),
    "CancelExecutionRequest": ("run_id",),
    "ConfigurableClassData": ("rehydrate",),
    "DagsterGrpcClient": ("ping", "get_current_runs", "cancel_execution"),
    "DefaultRunLauncher": ("launch_run", "terminate", "check_run_worker_health", "supports_check_run_worker_health"),
    "EngineEventData": ("engine_error",),
    "EventLogConsumerDaemon": ("run_iteration", "handle_updated_runs_fns"),
    "GetCurrentRunsResult": ("current_runs",),
    "GrpcServerCodeLocation": ("get_job", "get_repository", "has_repository"),
    "IWorkspaceProcessContext": ("create_request_context", "instance"),
    "MonitoringDaemon": ("run_iteration",),
    "QueuedRunCoordinator": ("submit_run", "cancel_run", "get_run_queue_config", "dequeue_interval_seconds"),
    "QueuedRunCoordinatorDaemon": ("_get_runs_to_dequeue", "run_iteration"),
    "ReexecutionStrategy": ("ALL_STEPS", "FROM_FAILURE"),
    "RunFailureReason": (
        "STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE", "UNEXPECTED_TERMINATION",
    ),
    "WorkerStatus": ("RUNNING", "SUCCESS", "UNKNOWN", "NOT_FOUND"),
}  # fmt: skip
ERRORS = {"DagsterCodeLocationLoadError", "DagsterCodeLocationNotFoundError", "DagsterUserCodeUnreachableError"}
TAGS = {
    "ASSET_RESUME_RETRY_TAG": "dagster/is_asset_resume_retry",
    "AUTO_RETRY_RUN_ID_TAG": "dagster/auto_retry_run_id",
    "GRPC_INFO_TAG": ".dagster/grpc_info",
    "RETRY_NUMBER_TAG": "dagster/retry_number",
    "RETRY_STRATEGY_TAG": "dagster/retry_strategy",
    "RUN_FAILURE_REASON_TAG": "dagster/failure_reason",
    "WILL_RETRY_TAG": "dagster/will_retry",
}


def test_every_name_of_the_adapter_is_held_here() -> None:
    imported = {entry.name for entry in modules_of()[ADAPTER].imports if entry.module.startswith("dagster")}

    assert imported == set(PARAMETERS) | set(MEMBERS) | ERRORS | set(TAGS), "hold the new name to its form"


@pytest.mark.parametrize(("name", "passed"), PARAMETERS.items(), ids=PARAMETERS)
def test_what_we_pass_is_taken(name: str, passed: tuple[str, ...]) -> None:
    parameters = inspect.signature(getattr(daemon_internals, name)).parameters

    gone = [wanted for wanted in passed if wanted not in parameters]
    assert gone == [], moved(f"{name} no longer takes {', '.join(gone)}")


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_what_we_use_is_there(name: str, members: tuple[str, ...]) -> None:
    kind: Any = getattr(daemon_internals, name)
    known = {*dir(kind), *getattr(kind, "__annotations__", {})}

    gone = [member for member in members if member not in known]
    assert gone == [], moved(f"{name} has no {', '.join(gone)}")


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_our_errors_are_errors_of_dagsters(name: str) -> None:
    assert issubclass(getattr(daemon_internals, name), dagster.DagsterError), moved(name)


@pytest.mark.parametrize(("name", "tag"), TAGS.items(), ids=TAGS)
def test_tags_have_the_names_that_stored_runs_have(name: str, tag: str) -> None:
    assert getattr(daemon_internals, name) == tag, moved(name)


def test_choosing_from_the_queue_takes_what_we_give() -> None:
    choosing = inspect.signature(daemon_internals.QueuedRunCoordinatorDaemon._get_runs_to_dequeue).parameters

    assert list(choosing) == ["self", "instance", "concurrency_config", "fixed_iteration_time"], moved("choosing")


def test_a_location_is_paused_where_dagster_looks_before_it_chooses() -> None:
    chooser = daemon_internals.QueuedRunCoordinatorDaemon(interval_seconds=1)
    daemon_internals.pause(chooser, "there", 60.0)
    daemon_internals.pause(chooser, "here", 0.0)

    paused = [chooser._is_location_pausing_dequeues(name, time.time()) for name in ("there", "here")]
    assert paused == [True, False], moved("the pause of a location")
    source = inspect.getsource(chooser._get_runs_to_dequeue)
    assert "self._location_timeouts[location_name] > now" in source, moved("the pause of a location")


def test_a_server_that_was_told_to_end_says_it_in_the_words_that_we_look_for() -> None:
    from dagster._grpc.server import DagsterApiServer

    source = inspect.getsource(DagsterApiServer.StartRun)
    assert "after telling it to shut down" in source, moved("a code server's refusal")


def test_a_code_location_has_its_client() -> None:
    source = inspect.getsource(daemon_internals.GrpcServerCodeLocation.__init__)

    assert "self.client = " in source, moved("a code location's client")


def test_dagster_makes_the_daemons_that_ours_take_the_place_of() -> None:
    source = inspect.getsource(create_daemon_of_type)

    for name in ("QueuedRunCoordinatorDaemon", "MonitoringDaemon", "EventLogConsumerDaemon"):
        assert f"return {name}(" in source, moved(f"{name} is no longer made")


def test_limits_of_the_queue_can_be_replaced() -> None:
    from dagster._core.instance.config import ConcurrencyConfig
    from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig

    queue = RunQueueConfig(20, [])._replace(max_concurrent_runs=3)
    config = ConcurrencyConfig.from_concurrency_settings({}, queue)
    again = type(config)(pool_config=config.pool_config, run_queue_config=queue)
    assert again.run_queue_config is not None
    assert again.run_queue_config.max_concurrent_runs == 3, moved("the queue's configuration")
