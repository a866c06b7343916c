"""What webserver, daemon and compute logs use of Dagster beyond its public names is still there as we use it."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import dagster
import pytest

from dagster_apollo.host import compute_logs, dagster_internals
from tests.support.package_source import modules_of

ADAPTER = "dagster_apollo.host.dagster_internals"


def moved(what: str) -> str:
    return f"{what}. dagster {dagster.__version__}: what we rely on has moved; mend {ADAPTER} and who uses it"


# Functions and constructors: the parameters that we pass.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "CapturedLogContext": ("log_key",),
    "DagsterGrpcClient": ("port", "host", "metadata"),
    "GrpcServerCodeLocation": ("origin", "instance", "grpc_metadata"),
    "GrpcServerCodeLocationOrigin": ("host", "port", "location_name"),
    "LocalComputeLogManager": ("base_dir", "inst_data"),
    "PollingComputeLogSubscriptionManager": ("manager",),
    "PostgresRunStorage": ("postgres_url", "should_autocreate_tables"),
    "SerializableErrorInfo": ("message", "stack", "cls_name"),
    "WorkspaceProcessContext": ("instance", "workspace_load_target"),
    "configure_loggers": ("log_level",),
    "create_daemons_from_instance": ("instance",),
    "daemon_controller_from_instance": (
        "instance",
        "workspace_load_target",
        "heartbeat_interval_seconds",
        "gen_daemons",
    ),
    "deserialize_value": ("val", "as_type", "whitelist_map"),
    "extract_serialized_job_snap_from_serialized_job_data_snap": ("serialized_job_data_snap",),
    "max_rx_bytes": (),
    "max_send_bytes": (),
    "redirect_to_file": ("stream", "filepath"),
    "reverse_cron_string_iterator": ("end_timestamp", "cron_string", "execution_timezone"),
}
# Classes: the members that we call, override or inherit.
MEMBERS: dict[str, tuple[str, ...]] = {
    "CodeLocationEntry": (
        "origin", "code_location", "load_error", "load_status", "display_metadata", "update_timestamp", "version_key",
        "definitions_source",
    ),
    "CodeLocationLoadStatus": ("LOADED",),
    "DefinitionsSource": ("CODE_SERVER",),
    "DagsterGrpcClient": (
        "_channel", "_get_response", "_gen_response", "reload_code", "external_repository", "external_job",
    ),
    "DagsterUserCodeProcessError": ("from_error_info",),
    "GrpcServerCodeLocation": ("server_id", "_job_ref_to_snap"),
    "GrpcServerCodeLocationOrigin": (
        "create_client", "create_location", "reload_location", "socket", "get_display_metadata",
    ),
    "CapturedLogSubscription": ("fetch", "complete", "log_key"),
    "CloudStorageComputeLogManager": (
        "local_manager", "upload_interval", "delete_logs", "download_url_for_type", "display_path_for_type",
        "cloud_storage_has_logs", "upload_to_cloud_storage", "download_from_cloud_storage", "get_log_data_for_type",
        "is_capture_complete", "get_log_keys_for_log_key_prefix", "on_subscribe", "on_unsubscribe", "dispose",
    ),
    "ComputeIOType": ("STDOUT", "STDERR"),
    "ComputeLogManager": ("capture_logs",),
    "ConfigurableClass": ("inst_data", "config_type", "from_config_value"),
    "ConfigurableClassData": ("rehydrate",),
    "CronFreshnessPolicy": ("lower_bound_delta",),
    "DagsterDaemon": ("core_loop",),
    "DagsterDaemonController": ("check_daemon_loop", "_workspace_process_context", "_daemon_threads"),
    "FreshnessDaemon": ("run_iteration", "daemon_type"),
    "IWorkspaceProcessContext": ("create_request_context",),
    "JobSnap": ("snapshot_id",),
    "LocalComputeLogManager": (
        "get_captured_local_path", "get_captured_log_download_url", "is_capture_complete", "read_path", "delete_logs",
        "capture_logs", "complete_artifact_path",
    ),
    "PollingComputeLogSubscriptionManager": ("add_subscription", "remove_subscription", "dispose"),
    "PostgresRunStorage": ("get_run_storage_id",),
    "RemoteRepositoryOrigin": ("code_location_origin", "repository_name"),
    "RepositoryErrorSnap": ("error",),
    "RepositorySnap": ("has_job_data", "get_job_refs"),
    "TimeWindowFreshnessPolicy": ("fail_window", "warn_window"),
    "WorkspaceLoadTarget": ("create_origins",),
    "WorkspaceProcessContext": (
        "refresh_workspace", "refresh_code_location", "get_current_workspace", "instance", "_load_location",
        "_start_watch_thread",
    ),
    "snapshot_repository": ("sync_get_external_repositories_data_grpc",),
}  # fmt: skip
CONSTANTS = {"IO_TYPE_EXTENSION"}


def test_every_name_of_the_adapter_is_held_here() -> None:
    imported = {entry.name for entry in modules_of()[ADAPTER].imports if entry.module.startswith("dagster")}

    assert imported == set(PARAMETERS) | set(MEMBERS) | CONSTANTS, "hold the new name to its form"


@pytest.mark.parametrize(("name", "passed"), PARAMETERS.items(), ids=PARAMETERS)
def test_what_we_pass_is_taken(name: str, passed: tuple[str, ...]) -> None:
    parameters = inspect.signature(getattr(dagster_internals, name)).parameters

    gone = [wanted for wanted in passed if wanted not in parameters]
    assert gone == [], moved(f"{name} no longer takes {', '.join(gone)}")
    asked = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in passed
    ]
    assert asked == [], moved(f"{name} now also asks for {', '.join(asked)}")


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_what_we_use_is_there(name: str, members: tuple[str, ...]) -> None:
    kind: Any = getattr(dagster_internals, name)
    known = {*dir(kind), *getattr(kind, "__annotations__", {})}

    gone = [member for member in members if member not in known]
    assert gone == [], moved(f"{name} has no {', '.join(gone)}")


def test_our_compute_logs_leave_no_abstract_member_open() -> None:
    left = sorted(compute_logs.PostgresComputeLogManager.__abstractmethods__)

    assert left == [], moved(f"a compute log manager must now also have {', '.join(left)}")


def test_streams_have_the_names_that_their_addresses_have() -> None:
    names = {kind.value: name for kind, name in dagster_internals.IO_TYPE_EXTENSION.items()}

    assert names == {"stdout": "out", "stderr": "err"}, moved("the names of streams")


@pytest.mark.parametrize(
    ("kind", "method", "parameters"),
    [
        ("DagsterGrpcClient", "_channel", ["self"]),
        ("DagsterGrpcClient", "_get_response", ["self", "method", "request", "timeout"]),
        ("DagsterGrpcClient", "_gen_response", ["self", "method", "request", "timeout"]),
        ("GrpcServerCodeLocation", "_job_ref_to_snap", ["self", "repository_name", "job_ref"]),
        ("GrpcServerCodeLocationOrigin", "create_client", ["self"]),
        ("GrpcServerCodeLocationOrigin", "create_location", ["self", "instance"]),
        ("GrpcServerCodeLocationOrigin", "reload_location", ["self", "instance"]),
        ("WorkspaceProcessContext", "_load_location", ["self", "origin", "reload"]),
        ("WorkspaceProcessContext", "_start_watch_thread", ["self", "origin"]),
        (
            "snapshot_repository",
            "sync_get_external_repositories_data_grpc",
            ["api_client", "code_location", "defer_snapshots"],
        ),
    ],
)
def test_what_is_exchanged_in_a_client_takes_what_ours_takes(kind: str, method: str, parameters: list[str]) -> None:
    ours = getattr(dagster_internals, kind)

    found = list(inspect.signature(getattr(ours, method)).parameters)
    assert found == parameters, moved(f"{kind}.{method} takes {', '.join(found)}")


def test_threads_of_a_daemon_are_threads() -> None:
    assert "threading.Thread" in str(
        inspect.get_annotations(dagster_internals.DagsterDaemonController)["_daemon_threads"]
    ), moved("a daemon's duties are no threads")
    assert threading.Thread.is_alive
