"""One run, executed in this process, for whoever has nothing but its id: a job, a container, a pod.

The code is what this image holds, whatever the run's record names. The run ends itself when its status says that it was
canceled (`liveness.py`): whoever cancels has no way to this process.
"""

import os
import sys
from contextlib import suppress

import dagster as dg

from dagster_apollo.code_host import code_location
from dagster_apollo.elsewhere.run_internals import (
    ReconstructableRepository,
    capture_interrupts,
    core_execute_run,
)
from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.role import LOCATION_VARIABLE, say
from dagster_apollo.runs.storage import buffered


def execute(instance: dg.DagsterInstance, run_id: str, location: str) -> None:
    """Execute a run of a code location; how it went stands in its events.

    Raises:
        HostError: there is no such run, or it is of another location.
    """
    run = instance.get_run_by_id(run_id)
    origin = run.remote_job_origin if run else None
    if run is None or origin is None or origin.location_name != location:
        remedy = "Give all roles the same DAGSTER_PG_URI."
        raise HostError([Problem(f"the run {run_id}", f"is none of the location {location} in this database", remedy)])
    repository = ReconstructableRepository.for_module(code_location.__name__, "location")
    job = repository.get_reconstructable_job(run.job_name)
    with suppress(dg.DagsterExecutionInterruptedError), buffered(instance):
        for _ in core_execute_run(job, run, instance, inject_env_vars=False):
            pass


def main(run_id: str) -> int:
    """Execute it; 1 when it has not ended by that."""
    with capture_interrupts(), dg.DagsterInstance.get() as instance:
        execute(instance, run_id, os.environ[LOCATION_VARIABLE])
        run = instance.get_run_by_id(run_id)
        has_ended = run is not None and run.is_finished
        say(f"{run_id}: {run.status.value if run else 'gone'}")
        return 0 if has_ended else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
