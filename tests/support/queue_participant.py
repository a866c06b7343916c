"""A process that takes part in an instance's queue as webserver or daemon do, and says what it began: for a race.

`python -m tests.support.queue_participant webserver|daemon COUNT`: a webserver submits COUNT runs, in turns of all
jobs; a daemon looks after the queue until its standard input ends. Each says `ready` and begins when it is sent a line.
What each begins, it also ends a moment later.
"""

from __future__ import annotations

import select
import sys
import time

import dagster as dg

from dagster_apollo.runs.coordinator import ImmediateRunCoordinator
from dagster_apollo.runs.queue import Queue
from tests.support.dagster_origins import remote_job_origin

POOLS = ("alpha", "beta")
_WORK_SECONDS = 0.05
_LEFT = 5  # the run that a webserver leaves where it is, as one does that ends before it can claim it


def job_of(pool: str) -> dg.JobDefinition:
    """A job whose only step takes the one place of a pool."""

    @dg.op(name=f"{pool}_step", pool=pool)
    def step() -> None:
        pass

    @dg.job(name=pool)
    def job() -> None:
        step()

    return job


def work(instance: dg.DagsterInstance, claimed: list[dg.DagsterRun], who: str) -> None:
    """Say when each run began and ended, and end it."""
    for run in claimed:
        began = time.time()
        time.sleep(_WORK_SECONDS)
        # Said before it is stored: what begins after that is told to begin later.
        sys.stdout.write(f"{who} {run.run_id} {run.job_name} {began} {time.time()}\n")
        sys.stdout.flush()
        success = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
        instance.report_dagster_event(success, run_id=run.run_id)


def main(who: str, count: int) -> None:
    with dg.DagsterInstance.get() as instance:
        coordinator = instance.run_coordinator
        assert isinstance(coordinator, ImmediateRunCoordinator)
        queue: Queue = coordinator.queue
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        if who == "daemon":
            while not select.select([sys.stdin], [], [], 0)[0]:
                work(instance, queue.claim(), who)
            return
        jobs = [job_of(pool) for pool in POOLS]
        for number in range(count):
            job = jobs[number % len(jobs)]
            run = instance.create_run_for_job(job, remote_job_origin=remote_job_origin("there", job.name))
            assert run.run_op_concurrency, "the race would be about nothing"
            instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)
            if number != _LEFT:
                work(instance, queue.claim(only=[run.run_id]), who)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
