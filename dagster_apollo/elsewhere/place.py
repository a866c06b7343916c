"""What every engine elsewhere is asked: start a run, say how it is, end it, remove what is left of it.

A run in such a place is ended by itself: it looks at its own status. So whoever may cancel runs needs no right over the
engine; only the daemon has that. Who chooses among places is `choosing.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dagster import DagsterRun

from dagster_apollo.elsewhere.dagster_internals import CheckRunHealthResult
from dagster_apollo.plans import ServicePlan


class Place(Protocol):
    """One engine elsewhere. Each of these raises when the engine does not answer."""

    def launch(self, run: DagsterRun, location: str, plan: ServicePlan) -> None:
        """Have a run of a code location executed, with so much memory and so many processors."""

    def health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether a run that has not ended is still being executed."""

    def stop(self, run: DagsterRun) -> None:
        """End a run that did not end by itself."""

    def tidy(self, is_finished: Callable[[str], bool]) -> None:
        """Remove what ended runs left there.

        Args:
            is_finished: whether the run of an id has ended, or is unknown.
        """
