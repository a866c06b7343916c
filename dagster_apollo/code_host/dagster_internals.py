"""What a tenant's processes use of Dagster's code server beyond its public names, in one place.

The server's own servicer answers, with definitions that were loaded before it was made; it is called without gRPC.
Nothing else under `code_host/` imports a private name; a test holds each to the form used here.
"""

import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.server import DagsterApiServer, LoadedRepositories
from dagster._grpc.types import (
    ExecuteExternalJobArgs,
    StartRunResult,
)
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils import get_run_crash_explanation
from dagster._utils.error import SerializableErrorInfo, serializable_error_info_from_exc_info
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

__all__ = [
    "DagsterApiServer",
    "DagsterInstance",
    "ExecuteExternalJobArgs",
    "LoadedRepositories",
    "Message",
    "SerializableErrorInfo",
    "StartRunResult",
    "dagster_api_pb2",
    "deserialize_value",
    "get_run_crash_explanation",
    "load_repositories",
    "repository_origin",
    "request_classes",
    "serializable_error_info_from_exc_info",
    "serialize_value",
    "servicer",
]

# What stock servers say of how they were started; a run's origin holds it.
ENTRY_POINT = (sys.executable, "-m", "dagster")


def load_repositories(module: str, location: str) -> LoadedRepositories:
    """Load the definitions of a module as a stock server does."""
    return LoadedRepositories(_origin(module), None, ENTRY_POINT, {}, code_location_name=location)


def servicer(
    loaded: LoadedRepositories | SerializableErrorInfo, module: str, location: str, server_id: str
) -> DagsterApiServer:
    """What answers calls, from definitions that were loaded already or failed to be.

    It has threads of its own: make it after a fork.
    """
    made = DagsterApiServer(
        server_termination_event=threading.Event(),
        logger=logging.getLogger("dagster.code_server"),
        server_threadpool_executor=FuturesAwareThreadPoolExecutor(max_workers=1),
        loadable_target_origin=None,  # else it would load them itself
        fixed_server_id=server_id,
        location_name=location,
        entry_point=ENTRY_POINT,
    )
    made._loadable_target_origin = _origin(module)
    if isinstance(loaded, SerializableErrorInfo):
        made._loaded_repositories, made._serializable_load_error = None, loaded
    else:
        made._loaded_repositories = loaded
    return made


def request_classes() -> Mapping[str, Any]:
    """The class of every call's request, by the call's name."""
    service = dagster_api_pb2.DESCRIPTOR.services_by_name["DagsterApi"]
    return {name: GetMessageClass(method.input_type) for name, method in service.methods_by_name.items()}


def repository_origin(location: str, repository: str) -> str:
    """A repository, as a request names it."""
    return serialize_value(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), repository))


def _origin(module: str) -> LoadableTargetOrigin:
    return LoadableTargetOrigin(executable_path=sys.executable, module_name=module)
