"""Runs as one-off jobs of the fake Render: asked for once, found again, looked after, ended; and who may not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from dagster_apollo.elsewhere.choosing import ChoosingRunLauncher
from dagster_apollo.elsewhere.opening import open_place
from dagster_apollo.errors import RenderError, RunPlaceError
from dagster_apollo.fork import Fork, parse_fork
from tests.support.fake_render.apollo import Deployment, deployed
from tests.support.fake_render.app import PREFIX, Fault
from tests.support.launched import Host, World, world_of

KEY = "rnd_a_key"
JOBS = rf"{PREFIX}/services/[^/]+/jobs"
FORK = parse_fork({"runs": {"elsewhere": ["render_job"]}})
ASKS = {"apollo/run_on": "render_job", "apollo/run_plan": "2c-4g"}
AT_ONCE = timedelta(0)


@pytest.fixture
def render() -> Iterator[Deployment]:
    with deployed(KEY, "token") as deployment:
        yield deployment


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path, ASKS) as made:
        yield made


@pytest.fixture
def launcher(world: World, render: Deployment) -> ChoosingRunLauncher:
    """The daemon's."""
    return launcher_of(world, render)


def launcher_of(
    world: World, render: Deployment, fork: Fork = FORK, key: str = KEY, **more: float
) -> ChoosingRunLauncher:
    """The launcher of a process with these settings; its host is the world's."""
    world.host = Host()
    environ = {"RENDER_API_KEY": key, "RENDER_API_URL": f"{render.world.base_url}{PREFIX}"}
    made = ChoosingRunLauncher(world.host, lambda instance, place: open_place(place, instance, fork, environ), **more)
    made.register_instance(world.instance)
    return made


def jobs(render: Deployment) -> list[dict[str, str]]:
    return render.service("dagster-code").jobs


def started(world: World, launcher: ChoosingRunLauncher) -> dg.DagsterRun:
    """A run that was launched, and has started."""
    run = world.new_run()
    launcher.launch_run(world.context(run))
    world.instance.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name), run.run_id
    )
    return world.read(run)


def test_a_job_of_the_code_hosts_service_is_asked_for_with_the_run_in_its_command(
    world: World, render: Deployment, launcher: ChoosingRunLauncher
) -> None:
    run = world.new_run()

    launcher.launch_run(world.context(run))

    [job] = jobs(render)
    assert job["startCommand"] == f"apollo run {world.location} {run.run_id}"
    assert job["planId"] == "plan-srv-010"
    tags = world.tags_of(run)
    assert (tags["apollo/run_on"], tags["apollo/render_job"]) == ("render_job", job["id"])
    assert world.host.launched == []


def test_a_location_that_says_nothing_has_its_runs_on_the_host(tmp_path: Path, render: Deployment) -> None:
    with world_of(tmp_path, {}) as world:
        run = world.new_run(**{"apollo/run_on": "render_job", "apollo/render_job": "job-of-the-run-before"})
        launcher = launcher_of(world, render)

        launcher.launch_run(world.context(run))

        assert world.host.launched == [run.run_id]
        launcher.terminate(run.run_id)
        assert world.host.terminated == [run.run_id]
    assert jobs(render) == []


@pytest.mark.parametrize("status", [502, 504])
def test_a_job_whose_answer_is_lost_is_found_by_its_command(
    world: World, render: Deployment, launcher: ChoosingRunLauncher, status: int
) -> None:
    render.fake.faults.append(Fault("POST", JOBS, status, heard=True))
    run = world.new_run()

    launcher.launch_run(world.context(run))

    [job] = jobs(render)
    assert world.tags_of(run)["apollo/render_job"] == job["id"]


@pytest.mark.parametrize("status", [400, 503])
def test_what_render_refuses_or_did_not_hear_fails_the_launch_and_starts_nothing(
    world: World, render: Deployment, launcher: ChoosingRunLauncher, status: int
) -> None:
    render.fake.faults.append(Fault("POST", JOBS, status, message="no"))

    with pytest.raises(RenderError, match=str(status)):
        launcher.launch_run(world.context(world.new_run()))
    assert jobs(render) == []


def test_a_rate_limit_is_waited_out(world: World, render: Deployment, launcher: ChoosingRunLauncher) -> None:
    render.fake.faults.append(Fault("POST", JOBS, 429, headers={"Retry-After": "0"}))

    launcher.launch_run(world.context(world.new_run()))

    assert len(jobs(render)) == 1


def test_a_daemon_that_died_before_it_noted_the_job_finds_it(
    world: World, render: Deployment, launcher: ChoosingRunLauncher
) -> None:
    run = started(world, launcher)
    world.instance.add_run_tags(run.run_id, {"apollo/render_job": ""})

    found = launcher.check_run_worker_health(world.read(run))

    assert found.status is WorkerStatus.RUNNING
    assert found.run_worker_id == jobs(render)[0]["id"]


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("pending", WorkerStatus.RUNNING),
        ("running", WorkerStatus.RUNNING),
        ("failed", WorkerStatus.FAILED),
        ("canceled", WorkerStatus.FAILED),
        ("succeeded", WorkerStatus.FAILED),
    ],
)
def test_a_run_lives_while_its_job_does(
    world: World, render: Deployment, launcher: ChoosingRunLauncher, status: str, health: WorkerStatus
) -> None:
    run = started(world, launcher)
    render.script.job_outcome = status
    [job] = jobs(render)
    job["status"] = status

    found = launcher.check_run_worker_health(run)

    assert found.status is health
    if health is WorkerStatus.FAILED:
        assert found.msg == f"Render's one-off job {job['id']} is over: {status}"


def test_a_run_whose_job_is_unknown_is_over(world: World, render: Deployment, launcher: ChoosingRunLauncher) -> None:
    run = started(world, launcher)
    jobs(render).clear()

    assert launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND


def test_a_run_that_starts_may_be_nowhere_for_a_while(world: World, render: Deployment) -> None:
    patient, impatient = launcher_of(world, render), launcher_of(world, render, starting_seconds=0.0)
    run = world.new_run(**{"apollo/run_on": "render_job"})

    assert patient.check_run_worker_health(run).status is WorkerStatus.RUNNING
    assert impatient.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND


def test_a_run_that_takes_up_another_does_not_end_with_that_ones_job(
    world: World, render: Deployment, launcher: ChoosingRunLauncher
) -> None:
    before = started(world, launcher)
    render.script.job_outcome = "failed"
    jobs(render)[0]["status"] = "failed"
    run = world.new_run(**{tag: value for tag, value in before.tags.items() if tag.startswith("apollo/")})

    assert launcher.check_run_worker_health(before).status is WorkerStatus.FAILED
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_render_that_does_not_answer_says_nothing_against_the_run(
    world: World, render: Deployment, launcher: ChoosingRunLauncher
) -> None:
    run = started(world, launcher)
    render.fake.faults.append(Fault("GET", rf"{JOBS}/.*", 418, times=1))

    found = launcher.check_run_worker_health(run)

    assert found.status is WorkerStatus.RUNNING
    assert "418" in str(found.msg)


def test_a_cancelled_run_is_first_asked_by_its_status_and_then_its_job_is_canceled(
    world: World, render: Deployment, launcher: ChoosingRunLauncher
) -> None:
    run = started(world, launcher)
    render.script.job_outcome = "running"  # it does not end by itself

    assert launcher.terminate(run.run_id) is True
    assert world.read(run).status is dg.DagsterRunStatus.CANCELING
    assert launcher.end_canceled(timedelta(minutes=5)) == []
    assert launcher.end_canceled(AT_ONCE) == [run.run_id]
    assert jobs(render)[0]["status"] == "canceled"
    assert launcher.end_canceled(AT_ONCE) == [run.run_id]
    assert world.read(run).status is dg.DagsterRunStatus.CANCELED
    assert launcher.end_canceled(AT_ONCE) == []
    assert launcher.terminate(run.run_id) is False


def test_the_job_of_a_run_that_was_given_up_and_goes_on_is_canceled(
    world: World, render: Deployment, launcher: ChoosingRunLauncher
) -> None:
    run = started(world, launcher)
    render.script.job_outcome = "running"  # it does not end by itself
    world.instance.report_run_failed(run)

    assert launcher.end_failed(timedelta(minutes=5)) == []
    assert launcher.end_failed(AT_ONCE) == [run.run_id]
    assert jobs(render)[0]["status"] == "canceled"
    assert launcher.end_failed(AT_ONCE) == []


def test_who_has_no_key_leaves_the_run_to_the_daemon_and_can_cancel_it_all_the_same(
    world: World, render: Deployment, launcher: ChoosingRunLauncher
) -> None:
    webservers = launcher_of(world, render, key="")
    run = world.new_run()

    assert webservers.launches_here(world.context(run)) is False
    assert launcher.launches_here(world.context(run)) is True
    launcher.launch_run(world.context(run))
    assert webservers.terminate(run.run_id) is True
    assert world.read(run).status is dg.DagsterRunStatus.CANCELING
    assert webservers.end_canceled(AT_ONCE) == []
    assert jobs(render)[0]["status"] == "pending"


def test_a_fork_that_has_no_such_place_says_what_to_do(world: World, render: Deployment) -> None:
    launcher = launcher_of(world, render, fork=Fork())

    with pytest.raises(RunPlaceError, match=r'elsewhere = \["render_job"\]'):
        launcher.launch_run(world.context(world.new_run()))
    assert jobs(render) == []


def test_a_place_that_this_release_does_not_know_is_not_taken_for_the_host(tmp_path: Path, render: Deployment) -> None:
    with world_of(tmp_path, {"apollo/run_on": "lambda"}) as world:
        with pytest.raises(RunPlaceError, match="'lambda'"):
            launcher_of(world, render).launch_run(world.context(world.new_run()))
        assert world.host.launched == []
