"""Jobs that are read when they are looked at are those that Dagster reads at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster
import pytest
from dagster import DagsterInstance
from dagster._core.remote_representation.external_data import JobRefSnap
from dagster._core.workspace.load_target import PythonFileTarget

from dagster_apollo.host.dagster_internals import GrpcServerCodeLocation, WorkspaceProcessContext
from dagster_apollo.host.late_jobs import LateJob, reading_jobs_late

DEFINITIONS = """\
import dagster as dg

@dg.asset
def first(): ...

@dg.asset(deps=[first])
def second(): ...

@dg.op
def once(): ...

@dg.op
def twice(start): ...

@dg.job
def ops():
    twice(once())

some = dg.define_asset_job("some", selection="second", tags={"of": "second"})
defs = dg.Definitions(assets=[first, second], jobs=[ops, some])
"""


@pytest.fixture(scope="module")
def served(module_folder: Path) -> Iterator[GrpcServerCodeLocation]:
    """A location behind Dagster's own code server, loaded as Dagster does it."""
    file = module_folder / "definitions.py"
    file.write_text(DEFINITIONS)
    target = PythonFileTarget(str(file), None, str(module_folder), "alpha")
    with (
        DagsterInstance.local_temp(str(module_folder)) as instance,
        WorkspaceProcessContext(instance, target) as context,
    ):
        location = context.create_request_context().get_code_location("alpha")
        assert isinstance(location, GrpcServerCodeLocation)
        yield location


def loaded_late(served: GrpcServerCodeLocation) -> GrpcServerCodeLocation:
    return GrpcServerCodeLocation(
        served.origin, DagsterInstance.ephemeral(), host=served.host, port=served.port, socket=served.socket
    )


def kept_jobs(location: Any) -> list[Any]:
    return [job for jobs in location._job_snaps_by_name.values() for job in jobs.values()]


def test_nothing_is_read_before_somebody_looks_and_then_that_job_alone(served: GrpcServerCodeLocation) -> None:
    with reading_jobs_late():
        location = loaded_late(served)
        jobs = kept_jobs(location)
        (repository,) = location.get_repositories().values()
        looked_at = repository.get_all_jobs()[0]

        assert jobs
        assert {type(job) for job in jobs} == {LateJob}
        assert looked_at.node_names
        assert [job.name for job in kept_jobs(location) if not isinstance(job, LateJob)] == [looked_at.name]


def test_every_job_is_what_dagster_makes_of_it(served: GrpcServerCodeLocation) -> None:
    (stock,) = served.get_repositories().values()
    with reading_jobs_late():
        location = loaded_late(served)
        ids = {job.name: job.snapshot_id for job in kept_jobs(location)}
        (ours,) = location.get_repositories().values()
        pairs = [(ours.get_full_job(job.name), job) for job in stock.get_all_jobs()]

        assert {job.name for _, job in pairs} == set(ids)
        for mine, job in pairs:
            assert mine.job_snapshot == job.job_snapshot
            assert mine.computed_job_snapshot_id == job.computed_job_snapshot_id == ids[job.name]


def test_the_job_that_another_is_a_part_of_is_read_with_it(served: GrpcServerCodeLocation) -> None:
    (name,) = served.get_repositories()
    whole, part = served.get_repositories()[name].get_all_jobs()[:2]
    ref = JobRefSnap(
        name=part.name, snapshot_id="", active_presets=[], parent_snapshot_id=whole.computed_job_snapshot_id
    )
    with reading_jobs_late():
        data = loaded_late(served)._job_ref_to_snap(name, ref)

    assert data.job == part.job_snapshot
    assert data.parent_job == whole.job_snapshot


def test_a_job_that_is_not_sent_is_named(served: GrpcServerCodeLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        serialized_job_data, serialized_error = "", ""

    monkeypatch.setattr(type(served.client), "external_job", lambda *_: Nothing())

    with reading_jobs_late(), pytest.raises(dagster.DagsterError, match=r"The job \w+ was asked for and not sent"):
        loaded_late(served)


def test_what_was_exchanged_is_put_back() -> None:
    before = GrpcServerCodeLocation._job_ref_to_snap

    with reading_jobs_late():
        assert GrpcServerCodeLocation._job_ref_to_snap is not before
    assert GrpcServerCodeLocation._job_ref_to_snap is before
