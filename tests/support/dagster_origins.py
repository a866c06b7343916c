"""Runs as Dagster's processes hand them to each other: to a code server over gRPC, to a run process as an argument."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.code_pointer import FileCodePointer, ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._grpc.types import ExecuteExternalJobArgs, ExecuteRunArgs
from dagster._serdes import serialize_value

from dagster_apollo.dbt.workspace import repository_root


def created_run(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    job: str,
    assets: Iterable[str] = (),
    file: Path | None = None,
    **more: Any,
) -> dg.DagsterRun:
    """A run as the webserver records it before it is launched.

    Args:
        instance: where.
        definitions: that have the job.
        job: its name.
        assets: the keys of those that it is for, as text; none: all.
        file: has the definitions as `defs`, for a stock process; None: those of the tenant that its environment names.
        more: what else `create_run_for_job` takes.
    """
    selection = frozenset(dg.AssetKey.from_user_string(key) for key in assets) or None
    found = definitions.resolve_job_def(job)
    if selection:
        found = found.get_subset(asset_selection=selection)
    starting = dg.DagsterRunStatus.STARTING
    return instance.create_run_for_job(
        found, asset_selection=selection, status=starting, job_code_origin=_loaded_by_stock(job, file), **more
    )


def start_run_args(instance: dg.DagsterInstance, run: dg.DagsterRun, location: str) -> str:
    """What StartRun brings to a code location."""
    origin = remote_job_origin(location, run.job_name)
    return serialize_value(
        ExecuteExternalJobArgs(job_origin=origin, run_id=run.run_id, instance_ref=instance.get_ref())
    )


def remote_job_origin(location: str, job: str) -> RemoteJobOrigin:
    """Where a job is found, by who does not load it: a run without that cannot be queued."""
    server = GrpcServerCodeLocationOrigin("localhost", port=1, location_name=location)
    return RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), job)


def run_by_stock_process(instance: dg.DagsterInstance, run: dg.DagsterRun, environ: Mapping[str, str]) -> None:
    """Execute a run with `dagster api execute_run`, as a stock launcher does.

    Args:
        instance: where it is recorded.
        run: the run.
        environ: of the process.
    """
    origin = run.job_code_origin
    assert origin is not None
    arguments = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=instance.get_ref())
    ended = subprocess.run(
        [sys.executable, "-m", "dagster", "api", "execute_run", serialize_value(arguments)],
        env={**environ, "PYTHONPATH": str(repository_root())},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr[-4000:] or json.dumps(ended.stdout[-2000:])


def _loaded_by_stock(job: str, file: Path | None) -> JobPythonOrigin:
    module = ModuleCodePointer("dagster_apollo.code_host.code_location", "location", str(repository_root()))
    pointer = FileCodePointer(str(file), "defs", str(file.parent)) if file else module
    repository = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=pointer,
        container_image=None,
        entry_point=["dagster"],
        container_context=None,
    )
    return JobPythonOrigin(job_name=job, repository_origin=repository)
