"""The words that execute one run in a job, container or pod, and what makes them out.

They name the code location and the run and nothing else: no secret, no text of a tenant's. What they do is
`one_run.py`; who says them, the launchers.
"""

from __future__ import annotations

import re
import uuid

from dagster_apollo.errors import Problem, RunPlaceError

_LOCATION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,130}")


def run_words(location: str, run_id: str) -> list[str]:
    """What stands after the image's entry point: `run LOCATION RUN_ID`.

    Raises:
        RunPlaceError: one of them has a form that no location, or no run, has.
    """
    problems = []
    if not _LOCATION.fullmatch(location):
        problems.append(Problem("the code location", f"{location!r} is no name of one", "Launch the run from its UI."))
    try:
        uuid.UUID(run_id)
    except ValueError:
        problems.append(Problem("the run", f"{run_id!r} is no id of one", "Launch it from Dagster's UI."))
    if problems:
        raise RunPlaceError(problems)
    return ["run", location, run_id]
