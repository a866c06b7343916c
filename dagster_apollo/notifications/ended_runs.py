"""What there is to tell of a run that ended: its errors, and the checks that failed in it.

Read from what Dagster stored, so that a run that was killed is told as well as one that failed. A run that Dagster
takes up again is not told; the last of its attempts is, with what the earlier ones left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from dagster_apollo.notifications.receivers import Message, Receiver

_WILL_RETRY = "dagster/will_retry"
_RETRIED_BY = "dagster/auto_retry_run_id"
# Tags of Dagster's: https://docs.dagster.io/deployment/tags
_AD_HOC_JOB = "__ASSET_JOB"
# In seconds. So long Dagster takes to write down, after a failure, whether the run is taken up again.
UNDECIDED_SECONDS = 120
# So long a new attempt may take to be made; after that it is not waited for.
UNRETRIED_SECONDS = 900


@dataclass(frozen=True)
class FailedCheck:
    """A check that did not pass.

    Attributes:
        asset: the asset's key without the tenant.
        name: the check's.
        blocking: of severity ERROR; else it warns.
        told: what is known of it: a count, an age.
    """

    asset: str
    name: str
    blocking: bool
    told: str

    def __str__(self) -> str:
        return f"{'ERROR' if self.blocking else 'WARN'} {self.name} on {self.asset}{self.told}"


@dataclass(frozen=True)
class EndedRun:
    """A run that ended, all its attempts taken together.

    Attributes:
        run: the last attempt.
        attempts: how many there were.
        errors: what the steps of the last one failed with.
        checks: the checks that failed last, in any of them.
    """

    run: dg.DagsterRun
    attempts: int
    errors: Sequence[str]
    checks: Sequence[FailedCheck]

    @property
    def failed(self) -> bool:
        """Whether it is red."""
        return self.run.status == dg.DagsterRunStatus.FAILURE

    def message(self, tenant: str, receiver: Receiver, public_url: str | None) -> Message | None:
        """What a receiver is told; None when it does not want to hear of it."""
        wanted = (self.failed and receiver.failed_runs) or (bool(self.checks) and receiver.failed_checks)
        if not wanted:
            return None
        job = self.run.job_name.removeprefix(f"{tenant}__")
        what = "assets" if job.startswith(_AD_HOC_JOB) else job
        loud = self.failed or any(check.blocking for check in self.checks)
        return Message(
            f"{tenant}: {self._headline(what)}",
            "\n".join(self._lines(public_url)),
            "failure" if loud else "warning",
        )

    def _headline(self, what: str) -> str:
        if self.failed:
            return f"the run of {what} failed" + (f", {self.attempts} times" if self.attempts > 1 else "")
        failed = sum(check.blocking for check in self.checks)
        counts = {"failed": failed, "warned": len(self.checks) - failed}
        told = [f"{count} check{'s' * (count > 1)} {verb}" for verb, count in counts.items() if count]
        return f"{' and '.join(told)} in the run of {what}"

    def _lines(self, public_url: str | None) -> Iterator[str]:
        yield from self.errors
        if self.checks:
            yield from ["", "Checks:"] if self.errors else []
            yield from map(str, sorted(self.checks, key=lambda check: (not check.blocking, check.asset, check.name)))
        yield ""
        yield f"{public_url.rstrip('/')}/runs/{self.run.run_id}" if public_url else f"Run {self.run.run_id}"


def is_undecided(instance: dg.DagsterInstance, run: dg.DagsterRun, age_seconds: float) -> bool:
    """Whether it is not yet known if, or not yet begun that, a failed run is taken up again.

    Args:
        instance: Dagster's.
        run: a run that ended.
        age_seconds: how long ago.
    """
    if run.status != dg.DagsterRunStatus.FAILURE:
        return False
    if _WILL_RETRY not in run.tags:
        return instance.run_retries_enabled and age_seconds < UNDECIDED_SECONDS
    return run.tags[_WILL_RETRY] == "true" and _RETRIED_BY not in run.tags and age_seconds < UNRETRIED_SECONDS


def is_taken_up_again(run: dg.DagsterRun) -> bool:
    """Whether another attempt has been made of a run."""
    return run.tags.get(_WILL_RETRY) == "true" and _RETRIED_BY in run.tags


def ended_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> EndedRun:
    """Read what there is to tell of a run."""
    attempts = [run]
    while attempts[0].parent_run_id:
        before = instance.get_run_by_id(attempts[0].parent_run_id)
        if before is None or before.tags.get(_RETRIED_BY) != attempts[0].run_id:
            break  # somebody ran it again by hand: that one was told
        attempts.insert(0, before)
    last: dict[dg.AssetCheckKey, FailedCheck | None] = {}
    for attempt in attempts:
        last |= _checks(instance, attempt.run_id)
    errors = list(dict.fromkeys(_errors(instance, run.run_id))) if run.status == dg.DagsterRunStatus.FAILURE else []
    return EndedRun(run, len(attempts), errors, [check for check in last.values() if check])


def _checks(instance: dg.DagsterInstance, run_id: str) -> dict[dg.AssetCheckKey, FailedCheck | None]:
    found: dict[dg.AssetCheckKey, FailedCheck | None] = {}
    for event in _events(instance, run_id, {dg.DagsterEventType.ASSET_CHECK_EVALUATION}):
        evaluation = event.asset_check_evaluation_data
        found[evaluation.asset_check_key] = (
            None
            if evaluation.passed
            else FailedCheck(
                "/".join(evaluation.asset_key.path[1:]),
                evaluation.check_name,
                evaluation.severity == dg.AssetCheckSeverity.ERROR,
                _told(evaluation.metadata),
            )
        )
    return found


def _told(metadata: Mapping[str, dg.MetadataValue]) -> str:
    """The counts, ages and errors among a check's metadata."""
    names = {"dagster_dbt/failed_row_count": "rows", "age_seconds": "seconds old", "error": ""}
    parts = [f"{metadata[name].value} {unit}".strip() for name, unit in names.items() if name in metadata]
    return f": {', '.join(parts)}" if parts else ""


def _errors(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    """What the steps failed with, in dbt's words where it was dbt; else why the run failed without a step."""
    steps = list(_events(instance, run_id, {dg.DagsterEventType.STEP_FAILURE}))
    for event in steps:
        data = event.step_failure_data
        own = data.user_failure_data.description if data.user_failure_data else None
        # Dagster wraps an exception of a tenant's own Python; the cause is what a person looks for.
        error = data.error.cause or data.error if data.error else None
        yield own or (error.message.strip() if error else "") or event.message or f"{event.step_key} failed"
    for event in [] if steps else _events(instance, run_id, {dg.DagsterEventType.RUN_FAILURE}):
        failed = event.event_specific_data
        cause = getattr(failed, "error", None)
        yield cause.message.strip() if cause else event.message or "The run failed."


def _events(
    instance: dg.DagsterInstance, run_id: str, kinds: Iterable[dg.DagsterEventType]
) -> Iterator[dg.DagsterEvent]:
    for entry in instance.all_logs(run_id, of_type=set(kinds)):
        if entry.dagster_event:
            yield entry.dagster_event
