"""What queue, launcher, monitoring and recovery use of Dagster beyond its public names, in one place.

Dagster offers no public way to take part in its queue, nor to decide what a run that is taken up again has to do. A
test holds each name to the form used here; what the storages use is `storage_internals.py`.
"""

import time

from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.errors import (
    DagsterCodeLocationLoadError,
    DagsterCodeLocationNotFoundError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.events import EngineEventData, JobFailureData, RunFailureReason
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import (
    ASSET_RESUME_RETRY_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    GRPC_INFO_TAG,
    RETRY_NUMBER_TAG,
    RETRY_STRATEGY_TAG,
    RUN_FAILURE_REASON_TAG,
    WILL_RETRY_TAG,
)
from dagster._core.workspace.context import BaseWorkspaceRequestContext, IWorkspaceProcessContext
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import filter_runs_to_should_retry
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.daemon import MonitoringDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CancelExecutionRequest, GetCurrentRunsResult
from dagster._serdes import ConfigurableClassData, deserialize_value
from dagster._utils.error import serializable_error_info_from_exc_info

# A code location that cannot be had now, and may be had later.
AWAY = (DagsterUserCodeUnreachableError, DagsterCodeLocationLoadError, DagsterCodeLocationNotFoundError)

__all__ = [
    "ASSET_RESUME_RETRY_TAG",
    "AUTO_RETRY_RUN_ID_TAG",
    "AWAY",
    "GRPC_INFO_TAG",
    "RETRY_NUMBER_TAG",
    "RETRY_STRATEGY_TAG",
    "RUN_FAILURE_REASON_TAG",
    "WILL_RETRY_TAG",
    "BaseWorkspaceRequestContext",
    "CancelExecutionRequest",
    "CheckRunHealthResult",
    "ConfigurableClassData",
    "DagsterGrpcClient",
    "DagsterUserCodeUnreachableError",
    "DefaultRunLauncher",
    "EngineEventData",
    "EventLogConsumerDaemon",
    "GetCurrentRunsResult",
    "GrpcServerCodeLocation",
    "IWorkspaceProcessContext",
    "JobFailureData",
    "JobSubsetSelector",
    "LaunchRunContext",
    "MonitoringDaemon",
    "QueuedRunCoordinator",
    "QueuedRunCoordinatorDaemon",
    "ReexecutionStrategy",
    "RunFailureReason",
    "SubmitRunContext",
    "WorkerStatus",
    "current_runs",
    "deserialize_value",
    "filter_runs_to_should_retry",
    "pause",
    "serializable_error_info_from_exc_info",
]


def current_runs(client: DagsterGrpcClient) -> set[str]:
    """The runs that a code server says it executes.

    Raises:
        DagsterUserCodeUnreachableError: it does not answer.
    """
    return set(deserialize_value(client.get_current_runs(), GetCurrentRunsResult).current_runs)


def pause(chooser: QueuedRunCoordinatorDaemon, location: str, seconds: float) -> None:
    """Have no queued run of a code location chosen for a while, as Dagster does where it launches; 0: no longer."""
    with chooser._location_timeouts_lock:
        chooser._location_timeouts[location] = time.time() + seconds
