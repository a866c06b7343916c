"""One run in dbt Cloud, from the trigger to its end: its log as it comes, its artifacts, its cancellation.

What happens to the network meanwhile does not end it: a run that is under way is waited for through an outage.
"""

from __future__ import annotations

import re
import shlex
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from dagster_apollo.dbt_cloud.client import CloudClient
from dagster_apollo.dbt_cloud.dagster_dbt_internals import DbtCloudJobRunStatusType as Status
from dagster_apollo.errors import DbtCloudError, Problem

POLL_SECONDS = 1.0
# A run is given up after dbt Cloud has not answered for this long; the run itself may go on there.
SILENCE_SECONDS = 900.0
CANCEL_SECONDS = 30.0
# A run may appear this long after its trigger was given up: a proxy passes on late what it has taken.
LOOK_SECONDS = 15.0
_ENDED = {int(Status.SUCCESS), int(Status.ERROR), int(Status.CANCELLED)}
_CLOCK = re.compile(r"^(\x1b\[[0-9;]*m)*\d\d:\d\d:\d\d(\.\d+)?\s+", re.MULTILINE)
_SHOWN_LINES = 30
Say = Callable[[str], object]


@dataclass
class CloudRun:
    """A run that was triggered.

    Attributes:
        client: of its account.
        id: its number.
        url: its page.
        details: what was last heard of it, with its steps.
    """

    client: CloudClient
    id: int
    url: str
    details: Mapping[str, Any]
    _told: dict[int, int] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.details.get("status") in _ENDED

    @property
    def succeeded(self) -> bool:
        """Whether all of its commands did."""
        return bool(self.details.get("status") == Status.SUCCESS)

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody cancelled it, here or there."""
        return bool(self.details.get("status") == Status.CANCELLED)

    def look(self) -> None:
        """Ask how it stands.

        Raises:
            DbtCloudError: dbt Cloud does not answer.
        """
        self.details = self.client.get_run_details(self.id, include_related=["run_steps"])

    def follow(self, log: Say, warn: Say) -> None:
        """Wait until it has ended. Whatever ends the waiting early cancels the run.

        Args:
            log: takes what dbt prints.
            warn: takes a sentence on an outage that is waited through.

        Raises:
            DbtCloudError: dbt Cloud has not answered for a quarter of an hour.
        """
        heard = time.monotonic()
        answering = True
        looked = False  # a run that had to be looked for may have ended, and its log is not told yet
        try:
            while not (looked and self.has_ended):
                time.sleep(POLL_SECONDS)
                try:
                    self.look()
                    heard, answering, looked = time.monotonic(), True, True
                except DbtCloudError as error:
                    if error.status is not None and error.status < 500 and error.status != 429:
                        raise
                    if time.monotonic() - heard > SILENCE_SECONDS:
                        raise
                    if answering:
                        warn(f"{error.problems[0]} The run goes on there; it is asked again.")
                    answering = False
                self._tell(log)
        finally:
            if not self.has_ended:
                self.cancel(warn)

    def cancel(self, warn: Say) -> None:
        """Cancel it and see it end, so that nothing else is started while it still writes."""
        until = time.monotonic() + CANCEL_SECONDS
        try:
            self.details = self.client.cancel_run(self.id)
            while not self.has_ended and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
                self.look()
        except DbtCloudError as error:
            warn(f"the dbt Cloud run {self.id} could not be cancelled: {error.problems[0]} Cancel it at {self.url}.")
            return
        if not self.has_ended:
            told = f"the dbt Cloud run {self.id} was cancelled and has not ended within {CANCEL_SECONDS:.0f} s"
            warn(f"{told}, so that it may still write. See {self.url}.")

    def artifact(self, name: str) -> Mapping[str, Any] | None:
        """One of its artifacts; None where it has none of that name.

        Raises:
            DbtCloudError: dbt Cloud does not answer.
        """
        try:
            return self.client.get_run_artifact(self.id, name)
        except DbtCloudError as error:
            if error.status == 404:
                return None
            raise

    def errors(self) -> list[str]:
        """What its failed steps say, in dbt's own words without its clock; else what dbt Cloud says of it."""
        told = []
        for step in self.details.get("run_steps") or []:
            if step.get("status") == Status.ERROR:
                lines = _CLOCK.sub("", str(step.get("logs") or "")).strip().splitlines()
                starts = [number for number, line in enumerate(lines) if "Encountered an error" in line]
                shown = lines[starts[0] + 1 :] if starts else lines
                told.append(f"{step.get('name')}: " + " ".join(" ".join(shown[-_SHOWN_LINES:]).split()))
        if self.was_cancelled:
            return ["it was cancelled in dbt Cloud"]
        message = self.details.get("status_message")
        return told or ([str(message)] if message else [])

    def _tell(self, log: Say) -> None:
        """What is new in the log of each step."""
        for step in self.details.get("run_steps") or []:
            text, index = str(step.get("logs") or ""), int(step["index"])
            before = self._told.get(index)
            if before is None:
                log(f"== {step.get('name')}\n")
            if len(text) > (before or 0):
                log(text[before or 0 :])
            self._told[index] = len(text)


def trigger(
    client: CloudClient,
    job_id: int,
    cause: str,
    words: Sequence[str] | None = None,
    *,
    look_seconds: float = LOOK_SECONDS,
) -> CloudRun:
    """Start a run, exactly once.

    Args:
        client: of the account.
        job_id: the job that it is a run of.
        cause: what dbt Cloud shows as the reason.
        words: a dbt command that takes the place of the job's own.
        look_seconds: how long the run is looked for when its trigger was not answered.

    Raises:
        DbtCloudError: dbt Cloud refuses, or nobody knows whether it was started.
    """
    marked = f"{cause} ({uuid.uuid4().hex[:12]})"
    body: dict[str, Any] = {"cause": marked}
    if words is not None:
        body["steps_override"] = [shlex.join(["dbt", *words])]
    try:
        details = client.ask("post", f"jobs/{job_id}/run", data=body)
    except DbtCloudError as error:
        if error.status is not None and error.status < 500:
            raise
        found = _started_after_all(client, job_id, marked, look_seconds)
        if found is None:
            problem = error.problems[0]
            what = f"{problem.what}; no run with the cause {marked!r} has appeared within {look_seconds:.0f} s"
            raise DbtCloudError(replace(problem, what=what), error.status) from None
        details = found
    return CloudRun(client, int(details["id"]), str(details.get("href") or client.access_url), details)


def _started_after_all(client: CloudClient, job_id: int, cause: str, seconds: float) -> Mapping[str, Any] | None:
    """The run of this cause, when its trigger was not answered: it may be there all the same, or soon."""
    recent = {"job_definition_id": job_id, "order_by": "-id", "limit": 20, "include_related": "trigger"}
    until = time.monotonic() + seconds
    while True:
        with suppress(DbtCloudError):  # what kept the answer back may keep back this one too
            for run in client.ask("get", "runs", params=recent):
                if (run.get("trigger") or {}).get("cause") == cause:
                    found: Mapping[str, Any] = run
                    return found
        if time.monotonic() >= until:
            return None
        time.sleep(POLL_SECONDS)


def unknown_job(name: str, jobs: Mapping[int, str]) -> Problem:
    """When no job is called so."""
    known = ", ".join(sorted(jobs.values())) or "none"
    return Problem(
        f"the dbt Cloud job {name!r}", "is not there", f"There are: {known}. Reload the location for others."
    )
