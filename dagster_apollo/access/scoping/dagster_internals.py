"""What access control uses of Dagster and its webserver beyond their public names, in this one place.

Dagster has no seam for "this user may not see that": the seams here are the abstract storages, the request and process
contexts of the webserver, and the webserver class itself. `tests/contracts/test_reviewed_dagster.py` names what an
upgrade moves or adds.
"""

from __future__ import annotations

from dagster._core.definitions.asset_checks.asset_check_spec import AssetCheckKey
from dagster._core.definitions.assets.definition.asset_spec import SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET
from dagster._core.definitions.partitions.definition import DynamicPartitionsDefinition, MultiPartitionsDefinition
from dagster._core.event_api import EventRecordsResult
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.remote_representation.external import RemoteRepository
from dagster._core.remote_representation.grpc_server_state_subscriber import (
    LocationStateChangeEvent,
    LocationStateSubscriber,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick
from dagster._core.snap import create_execution_plan_snapshot_id
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.defs_state.base import DefsStateStorage
from dagster._core.storage.event_log.base import EventLogConnection, EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.runs.schema import RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster._core.types.pagination import PaginatedResults
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.workspace import CurrentWorkspace
from dagster._utils.concurrency import ConcurrencyKeyInfo
from dagster_shared.record import copy as copy_record
from dagster_webserver.webserver import DagsterWebserver

__all__ = [
    "REPOSITORY_LABEL_TAG",
    "SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET",
    "AssetCheckKey",
    "ComputeLogManager",
    "ConcurrencyKeyInfo",
    "CurrentWorkspace",
    "DagsterWebserver",
    "DefsStateStorage",
    "DynamicPartitionsDefinition",
    "EventLogConnection",
    "EventLogEntry",
    "EventLogStorage",
    "EventRecordsResult",
    "InstigatorState",
    "InstigatorTick",
    "LocationStateChangeEvent",
    "LocationStateSubscriber",
    "MultiPartitionsDefinition",
    "PaginatedResults",
    "PartitionBackfill",
    "RemoteRepository",
    "RunRecord",
    "RunStorage",
    "RunTagsTable",
    "ScheduleStorage",
    "SqlRunStorage",
    "WorkspaceProcessContext",
    "WorkspaceRequestContext",
    "copy_record",
    "create_execution_plan_snapshot_id",
]
