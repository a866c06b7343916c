"""What the webserver, the daemon and the compute logs use of Dagster beyond its public names, in one place.

Dagster offers no public way to start its webserver or daemon from a program, nor to give them a workspace that changes.
Nothing else under `host/` imports a private name, but `storage.py`; a test holds each name to the form used here.
"""

from threading import Thread

from dagster._api import snapshot_repository
from dagster._core.definitions.freshness import CronFreshnessPolicy, TimeWindowFreshnessPolicy
from dagster._core.errors import DagsterUserCodeProcessError
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external_data import (
    RepositoryErrorSnap,
    RepositorySnap,
    extract_serialized_job_snap_from_serialized_job_data_snap,
)
from dagster._core.snap import JobSnap
from dagster._core.storage.cloud_storage_compute_log_manager import (
    CloudStorageComputeLogManager,
    PollingComputeLogSubscriptionManager,
)
from dagster._core.storage.compute_log_manager import (
    CapturedLogContext,
    CapturedLogSubscription,
    ComputeIOType,
    ComputeLogManager,
)
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.workspace.context import IWorkspaceProcessContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._core.workspace.workspace import CodeLocationEntry, CodeLocationLoadStatus, DefinitionsSource
from dagster._daemon.controller import (
    DagsterDaemonController,
    create_daemons_from_instance,
    daemon_controller_from_instance,
)
from dagster._daemon.daemon import DagsterDaemon
from dagster._daemon.freshness import FreshnessDaemon
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.utils import max_rx_bytes, max_send_bytes
from dagster._serdes import ConfigurableClass, ConfigurableClassData, deserialize_value
from dagster._utils.error import SerializableErrorInfo
from dagster._utils.log import configure_loggers
from dagster._utils.schedules import reverse_cron_string_iterator
from dagster_postgres.run_storage import PostgresRunStorage

__all__ = [
    "IO_TYPE_EXTENSION",
    "CapturedLogContext",
    "CapturedLogSubscription",
    "CloudStorageComputeLogManager",
    "CodeLocationEntry",
    "CodeLocationLoadStatus",
    "ComputeIOType",
    "ComputeLogManager",
    "ConfigurableClass",
    "ConfigurableClassData",
    "CronFreshnessPolicy",
    "DagsterDaemon",
    "DagsterDaemonController",
    "DagsterGrpcClient",
    "DagsterUserCodeProcessError",
    "DefinitionsSource",
    "FreshnessDaemon",
    "GrpcServerCodeLocation",
    "GrpcServerCodeLocationOrigin",
    "IWorkspaceProcessContext",
    "JobSnap",
    "LocalComputeLogManager",
    "PollingComputeLogSubscriptionManager",
    "PostgresRunStorage",
    "RemoteRepositoryOrigin",
    "RepositoryErrorSnap",
    "RepositorySnap",
    "SerializableErrorInfo",
    "TimeWindowFreshnessPolicy",
    "WorkspaceLoadTarget",
    "WorkspaceProcessContext",
    "configure_loggers",
    "create_daemons_from_instance",
    "daemon_controller_from_instance",
    "daemon_threads",
    "deserialize_value",
    "extract_serialized_job_snap_from_serialized_job_data_snap",
    "max_rx_bytes",
    "max_send_bytes",
    "redirect_to_file",
    "reverse_cron_string_iterator",
    "snapshot_repository",
    "workspace_of",
]


def workspace_of(controller: DagsterDaemonController) -> WorkspaceProcessContext:
    """The process context that a daemon works on."""
    context = controller._workspace_process_context
    assert isinstance(context, WorkspaceProcessContext)  # noqa: S101
    return context


def daemon_threads(controller: DagsterDaemonController) -> list[Thread]:
    """The threads of a daemon, one for each of its duties."""
    return list(controller._daemon_threads.values())
