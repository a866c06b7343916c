"""Runs of a code location that says where its runs are executed, and launchers to have them launched by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.launcher import RunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext

LOCATION = "acme_two"
_LOCATION = """\
import dagster as dg


@dg.asset
def spoken() -> None: ...


defs = dg.Definitions(assets=[spoken], metadata={metadata!r})
"""


class Host(RunLauncher[dg.DagsterInstance]):
    """A launcher of the host's that only notes what it is asked.

    Attributes:
        launched, terminated: ids of runs.
        health: what it says of every run.
    """

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.terminated: list[str] = []
        self.health = CheckRunHealthResult(WorkerStatus.RUNNING)
        super().__init__()

    def launch_run(self, context: LaunchRunContext) -> None:
        self.launched.append(context.dagster_run.run_id)

    def terminate(self, run_id: str) -> bool:
        self.terminated.append(run_id)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        return self.health


@dataclass
class World:
    """An instance, and a workspace of one location."""

    instance: dg.DagsterInstance
    workspace: Any
    location: str = LOCATION
    host: Host = field(default_factory=Host)

    def new_run(self, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTING, **tags: str) -> dg.DagsterRun:
        """A run of the location, as it is when a launcher is asked."""
        location = self.workspace.get_code_location(self.location)
        [repository] = location.get_repositories().values()
        job = repository.get_full_job("__ASSET_JOB")
        return self.instance.create_run(
            job_name=job.name,
            run_id=None,
            run_config=None,
            status=status,
            tags=tags,
            root_run_id=None,
            parent_run_id=None,
            step_keys_to_execute=None,
            execution_plan_snapshot=None,
            job_snapshot=job.job_snapshot,
            parent_job_snapshot=None,
            asset_selection=None,
            asset_check_selection=None,
            resolved_op_selection=None,
            op_selection=None,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            asset_graph=repository.asset_graph,
        )

    def context(self, run: dg.DagsterRun) -> LaunchRunContext:
        return LaunchRunContext(run, self.workspace)

    def tags_of(self, run: dg.DagsterRun) -> dict[str, str]:
        return dict(self.read(run).tags)

    def read(self, run: dg.DagsterRun) -> dg.DagsterRun:
        """A run as it is now."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found


@contextmanager
def world_of(folder: Path, metadata: dict[str, str], *, image: str | None = None) -> Iterator[World]:
    """An instance of its own and a location whose repository has this metadata.

    Args:
        folder: where the location's file is written.
        metadata: what the location says of itself.
        image: the image that its code server claims to run in.
    """
    file = folder / "acme.py"
    file.write_text(_LOCATION.format(metadata=metadata))
    target = LoadableTargetOrigin(python_file=str(file))
    origin = InProcessCodeLocationOrigin(target, container_image=image, location_name=LOCATION)
    home = folder / "home"
    home.mkdir()
    with (
        dg.DagsterInstance.local_temp(str(home)) as instance,
        WorkspaceProcessContext(instance, InProcessTestWorkspaceLoadTarget(origin)) as context,
    ):
        yield World(instance, context.create_request_context())
