"""The table of code-server calls is Dagster's own list, and what the front reads and writes is what Dagster does."""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any

import dagster
import pytest
from dagster._grpc.__generated__ import dagster_api_pb2 as api
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import (
    CanCancelExecutionRequest,
    CanCancelExecutionResult,
    CancelExecutionRequest,
    CancelExecutionResult,
    GetCurrentRunsResult,
    ShutdownServerResult,
    StartRunResult,
)
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils.error import SerializableErrorInfo

from dagster_apollo.code_host import answers, dagster_internals, protobuf, snapshots
from dagster_apollo.code_host.calls import CALLS, SERVICE

DESCRIBED = api.DESCRIPTOR.services_by_name["DagsterApi"]


def moved(what: str) -> str:
    return f"{what}. dagster {dagster.__version__}: mend dagster_apollo/code_host/"


def test_every_call_of_dagsters_is_in_the_table() -> None:
    assert set(CALLS) == set(DESCRIBED.methods_by_name), moved(
        "calls came or went: say in calls.py how each is answered"
    )
    assert f"/{DESCRIBED.full_name}/" == SERVICE


def test_the_table_says_which_answers_stream() -> None:
    streaming = {name for name, method in DESCRIBED.methods_by_name.items() if method.server_streaming}

    assert {name for name, call in CALLS.items() if call.streams} == streaming
    assert not any(method.client_streaming for method in DESCRIBED.methods_by_name.values())


def test_every_call_that_dagsters_client_makes_is_answered() -> None:
    source = ast.parse(inspect.getsource(inspect.getmodule(DagsterGrpcClient)))  # type: ignore[arg-type]
    made = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and node.value in CALLS}

    refused = {name for name, call in CALLS.items() if call.how == "refused"}
    assert refused & made == {"ExternalNotebookData", "ReloadCodeWithState"}
    assert "SyncExternalSensorExecution" in made


@pytest.mark.parametrize(
    ("message", "field", "number"),
    [
        ("PingReply", "echo", 1),
        ("GetServerIdReply", "server_id", 1),
        ("ListRepositoriesReply", "serialized_list_repositories_response_or_error", 1),
        ("ExternalRepositoryRequest", "serialized_repository_python_origin", 1),
        ("ExternalRepositoryRequest", "defer_snapshots", 2),
        ("ExternalRepositoryReply", "serialized_external_repository_data", 1),
        ("StreamingExternalRepositoryEvent", "sequence_number", 1),
        ("StreamingExternalRepositoryEvent", "serialized_external_repository_chunk", 2),
        ("ExternalJobRequest", "serialized_repository_origin", 1),
        ("ExternalJobRequest", "job_name", 2),
        ("StartRunRequest", "serialized_execute_run_args", 1),
        ("StartRunReply", "serialized_start_run_result", 1),
        ("CancelExecutionRequest", "serialized_cancel_execution_request", 1),
        ("CancelExecutionReply", "serialized_cancel_execution_result", 1),
        ("CanCancelExecutionRequest", "serialized_can_cancel_execution_request", 1),
        ("CanCancelExecutionReply", "serialized_can_cancel_execution_result", 1),
        ("GetCurrentRunsReply", "serialized_current_runs", 1),
        ("ShutdownServerReply", "serialized_shutdown_server_result", 1),
        ("StreamingPingRequest", "sequence_length", 1),
        ("StreamingPingRequest", "echo", 2),
        ("StreamingPingEvent", "sequence_number", 1),
        ("StreamingPingEvent", "echo", 2),
    ],
)
def test_a_field_has_the_number_that_the_front_uses(message: str, field: str, number: int) -> None:
    assert getattr(api, message).DESCRIPTOR.fields_by_name[field].number == number, moved(f"{message}.{field}")


def test_what_the_front_writes_is_read_by_protobuf_and_the_other_way_round() -> None:
    chunk = "ü" * 70_000
    written = protobuf.number(1, 300) + protobuf.string(2, chunk)
    read = api.StreamingExternalRepositoryEvent.FromString(written)
    assert (read.sequence_number, read.serialized_external_repository_chunk) == (300, chunk)

    asked = api.ExternalRepositoryRequest(serialized_repository_python_origin=chunk, defer_snapshots=True)
    assert protobuf.parse(asked.SerializeToString())[2] == 1
    assert protobuf.text(asked.SerializeToString(), 1) == chunk


@pytest.mark.parametrize("content", [b"\x0a", b"\x0a\x05abc", b"\xff" * 12, b"\x0b\x01"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="message"):
        protobuf.parse(content)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (
            answers.start_run_result(True),
            StartRunResult,
            StartRunResult(success=True, message=None, serializable_error_info=None),
        ),
        (
            answers.start_run_result(False, "why"),
            StartRunResult,
            StartRunResult(success=False, message="why", serializable_error_info=None),
        ),
        (
            answers.cancel_result(True),
            CancelExecutionResult,
            CancelExecutionResult(success=True, message=None, serializable_error_info=None),
        ),
        (answers.can_cancel_result(False), CanCancelExecutionResult, CanCancelExecutionResult(can_cancel=False)),
        (
            answers.current_runs_result(["a"]),
            GetCurrentRunsResult,
            GetCurrentRunsResult(current_runs=["a"], serializable_error_info=None),
        ),
        (
            answers.shutdown_result(),
            ShutdownServerResult,
            ShutdownServerResult(success=True, serializable_error_info=None),
        ),
    ],
)
def test_what_the_first_process_answers_is_dagsters(text: str, kind: Any, value: Any) -> None:
    assert deserialize_value(text, kind) == value, moved(kind.__name__)
    assert set(json.loads(text)) == set(json.loads(serialize_value(value)))


def test_a_load_error_is_dagsters() -> None:
    error = deserialize_value(snapshots.load_error("told").decode(), SerializableErrorInfo)

    assert error.message == "told\n"


def test_a_run_is_found_in_a_request_to_cancel() -> None:
    for request in (CancelExecutionRequest(run_id="a-run"), CanCancelExecutionRequest(run_id="a-run")):
        told = json.loads(serialize_value(request))
        assert (told.get("pipeline_run_id") or told.get("run_id")) == "a-run", moved(type(request).__name__)


def test_the_servicer_answers_what_is_passed_on_to_it() -> None:
    passed = [name for name, call in CALLS.items() if call.how in ("tenant", "snapshot")]

    assert [name for name in passed if not hasattr(dagster_internals.DagsterApiServer, name)] == []
    assert set(passed) <= set(dagster_internals.request_classes())
