"""Whether a run lives: asked of its code server, seen by the lock of its process, and not given up too early."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import grpc
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._grpc.__generated__ import dagster_api_pb2 as api
from dagster._grpc.__generated__.dagster_api_pb2_grpc import DagsterApiServicer, add_DagsterApiServicer_to_server
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import serialize_value

from dagster_apollo.elsewhere.choosing import ChoosingRunLauncher
from dagster_apollo.host.instance import lay_home
from dagster_apollo.host.migration import make_storage
from dagster_apollo.runs import launcher as launching
from dagster_apollo.runs.liveness import alive, instance_locks
from dagster_apollo.runs.watch import mark_the_dead
from tests.support.dagster_origins import remote_job_origin
from tests.support.ports import free_port
from tests.support.stack import REPOSITORY
from tests.support.webserver import wait_until


class Server(DagsterApiServicer):  # type: ignore[misc]
    """A code server that says which runs it executes, and nothing else."""

    runs: tuple[str, ...] = ()

    def GetCurrentRuns(self, request: object, context: object) -> object:
        told = GetCurrentRunsResult(current_runs=list(self.runs), serializable_error_info=None)
        return api.GetCurrentRunsReply(serialized_current_runs=serialize_value(told))


@contextmanager
def serving(port: int) -> Iterator[Server]:
    servicer = Server()
    server = grpc.server(ThreadPoolExecutor(2))
    add_DagsterApiServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield servicer
    finally:
        server.stop(None).wait()


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The project's own instance, on files."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    environ = {"DAGSTER_HOME": str(tmp_path / "home")}
    home = lay_home(environ, REPOSITORY)
    make_storage(environ, home, lambda line: None)
    for name in ("GONE_SECONDS", "SILENT_SECONDS", "STARTING_SECONDS"):
        monkeypatch.setattr(launching, name, 0.5)
    monkeypatch.setattr(launching, "_ASKED_SECONDS", 0.0)
    with dg.DagsterInstance.from_config(str(home)) as made:
        assert isinstance(made.run_launcher, ChoosingRunLauncher)
        yield made


def started(instance: dg.DagsterInstance, port: int) -> str:
    """A run that a code server on a port has begun."""

    @dg.job
    def nothing() -> None:
        pass

    run = instance.create_run_for_job(
        nothing, tags={".dagster/grpc_info": json.dumps({"host": "127.0.0.1", "port": port})}
    )
    for kind in (dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_START):
        instance.report_dagster_event(dg.DagsterEvent(kind.value, "nothing"), run_id=run.run_id)
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    """The run's status after the watch has looked."""
    for _ in mark_the_dead(instance):
        pass
    run = instance.get_run_by_id(run_id)
    assert run
    return run.status


def test_a_run_that_its_server_names_lives_and_one_that_it_does_not_is_marked(instance: dg.DagsterInstance) -> None:
    with serving(port := free_port()) as server:
        run_id = started(instance, port)
        server.runs = (run_id,)
        for _ in range(3):
            assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
        server.runs = ()
        # Not at first sight: a process may be on its way from one place to the other.
        assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
        wait_until(lambda: status(instance, run_id) == dg.DagsterRunStatus.FAILURE, "it is marked", 20)
    run = instance.get_run_by_id(run_id)
    assert run
    assert run.tags["dagster/failure_reason"] == "UNEXPECTED_TERMINATION"
    [failed] = [e for e in instance.all_logs(run_id) if e.dagster_event and e.dagster_event.is_run_failure]
    assert "its process is gone" in (failed.dagster_event.message or "" if failed.dagster_event else "")


def test_a_run_lives_as_long_as_its_process_says_so_whoever_answers_for_it(instance: dg.DagsterInstance) -> None:
    run_id = started(instance, free_port())  # where nobody listens
    locks = instance_locks(instance, {})
    with alive(instance, run_id, locks):
        wait_until(lambda: locks.held([f"run/{run_id}"]), "its process has said so", 20)
        end = instance.run_launcher.check_run_worker_health
        run = instance.get_run_by_id(run_id)
        assert run
        for _ in range(3):
            assert end(run).status == WorkerStatus.RUNNING
            assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    wait_until(lambda: status(instance, run_id) == dg.DagsterRunStatus.FAILURE, "it is marked", 20)


def test_a_run_whose_cancelling_found_nobody_is_cancelled(instance: dg.DagsterInstance) -> None:
    with serving(port := free_port()):
        run_id = started(instance, port)
        run = instance.get_run_by_id(run_id)
        assert run
        instance.report_run_canceling(run)
        wait_until(lambda: status(instance, run_id) == dg.DagsterRunStatus.CANCELED, "it is cancelled", 20)


def test_a_run_whose_code_host_was_away_has_all_its_time_when_it_is_launched_again(
    instance: dg.DagsterInstance,
) -> None:
    @dg.job
    def nothing() -> None:
        pass

    class Away:
        def get_code_location(self, name: str) -> None:
            raise DagsterUserCodeUnreachableError("nobody listens")

    workspace: Any = Away()
    run = instance.create_run_for_job(
        nothing, status=dg.DagsterRunStatus.STARTING, remote_job_origin=remote_job_origin("there", "nothing")
    )
    launcher = launching.CodeHostRunLauncher()
    launcher.register_instance(instance)
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    time.sleep(launching.STARTING_SECONDS)
    with pytest.raises(launching.CodeHostAwayError):
        launcher.launch_run(LaunchRunContext(run, workspace))

    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    wait_until(lambda: launcher.check_run_worker_health(run).status == WorkerStatus.NOT_FOUND, "it is given up", 20)


@pytest.mark.timeout(50)  # below the minute that Dagster's client waits by itself
def test_a_code_host_that_takes_a_connection_and_says_nothing_is_away(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.job
    def nothing() -> None:
        pass

    monkeypatch.setattr(launching, "_REACHED_SECONDS", 1)
    run = instance.create_run_for_job(
        nothing, status=dg.DagsterRunStatus.STARTING, remote_job_origin=remote_job_origin("there", "nothing")
    )
    launcher = launching.CodeHostRunLauncher()
    launcher.register_instance(instance)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        location = SimpleNamespace(client=DagsterGrpcClient(host="127.0.0.1", port=silent.getsockname()[1]))
        workspace: Any = SimpleNamespace(get_code_location=lambda _: location)
        with pytest.raises(launching.CodeHostAwayError, match="there: cannot be reached"):
            launcher.launch_run(LaunchRunContext(run, workspace))
