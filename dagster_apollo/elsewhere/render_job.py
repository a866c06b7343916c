"""Runs as one-off jobs of Render, from the code host's image with the code host's variables.

A job cannot be given variables, so its first process is the code host's own kind: it holds everybody's and gives the
run its tenant's (`one_run.py`). The request is not idempotent; a job is found again by its command, which names the
run. Facts: https://render.com/docs/one-off-jobs
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime

from dagster import DagsterInstance, DagsterRun

from dagster_apollo.deploy.render_jobs import RenderJobs
from dagster_apollo.deploy.resources import Job
from dagster_apollo.elsewhere.dagster_internals import CheckRunHealthResult, WorkerStatus
from dagster_apollo.elsewhere.place_command import run_words
from dagster_apollo.errors import Problem, RenderError, RunPlaceError
from dagster_apollo.plans import ServicePlan
from dagster_apollo.run_places import RENDER_PLAN_IDS

# When the job was asked for, and which it is.
ASKED_TAG, JOB_TAG = "apollo/render_job_asked", "apollo/render_job"


class RenderJobPlace:
    """One-off jobs.

    Args:
        instance: whose runs they execute.
        jobs: those of the code host's service.
    """

    def __init__(self, instance: DagsterInstance, jobs: RenderJobs) -> None:
        self._instance = instance
        self._jobs = jobs

    def launch(self, run: DagsterRun, location: str, plan: ServicePlan) -> None:
        """See `Place`. What is asked for is noted first: should this process die now, the job is found by that.

        Raises:
            RunPlaceError: there is no job of such a size.
            RenderError: Render refuses, or cannot be reached.
        """
        if plan not in RENDER_PLAN_IDS:
            remedy = f"Set `run_plan` to one of {', '.join(RENDER_PLAN_IDS)}."
            raise RunPlaceError([Problem(f"{location}: run_plan", f"{plan} is no size of a one-off job", remedy)])
        asked = datetime.now(UTC)
        # A run that takes up another has its tags; the job is not its own.
        self._instance.add_run_tags(run.run_id, {ASKED_TAG: asked.isoformat(), JOB_TAG: ""})
        job = self._jobs.start(_command(location, run.run_id), RENDER_PLAN_IDS[plan], asked)
        self._instance.add_run_tags(run.run_id, {JOB_TAG: job.id})
        self._instance.report_engine_event(f"Render executes the run in the one-off job {job.id} ({plan})", run)

    def health(self, run: DagsterRun) -> CheckRunHealthResult:
        try:
            job = self._job_of(run)
        except RenderError as error:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, str(error.problems[0]))
        if job is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "Render knows no one-off job of this run")
        if job.status in ("pending", "running"):
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=job.id)
        # Also one that succeeded: the run's last event would be there.
        return CheckRunHealthResult(WorkerStatus.FAILED, f"Render's one-off job {job.id} is over: {job.status}")

    def stop(self, run: DagsterRun) -> None:
        job = self._job_of(run)
        if job is not None:
            self._jobs.cancel(job.id)

    def tidy(self, is_finished: Callable[[str], bool]) -> None:
        """Nothing is left of a job."""

    def _job_of(self, run: DagsterRun) -> Job | None:
        job_id = run.tags.get(JOB_TAG)
        job = self._jobs.get(job_id) if job_id else None
        if job is not None and run.run_id in job.start_command:  # else it is that of the run before
            return job
        asked = run.tags.get(ASKED_TAG)
        if asked is None:
            return None
        return self._jobs.find(lambda job: run.run_id in job.start_command, datetime.fromisoformat(asked))


def _command(location: str, run_id: str) -> str:
    return shlex.join(["apollo", *run_words(location, run_id)])
