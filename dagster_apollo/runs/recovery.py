"""Taking up what ended badly: a new run for what is left of it, made by the daemon, wherever there is a place for it.

Which runs have ended is Dagster's to tell, one event after the other; it tells of each once, and not of one whose event
came before its state, or while the database went away. So failed runs are also looked for, now and then, in the runs
themselves. Whether one is taken up is a rule of `interruptions.py`, and what is left of it is read in `remainder.py`. A
code location that is away for a while does not lose a run: it is tried again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from dagster_apollo.interruptions import (
    AFTER_FAILURE,
    MAX_RETRIES,
    TAKES_UP,
    Attempt,
    End,
    interruption_of,
    is_taken_up,
    next_attempt,
    unmarked,
)
from dagster_apollo.runs.daemon_internals import (
    ASSET_RESUME_RETRY_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    AWAY,
    GRPC_INFO_TAG,
    RETRY_NUMBER_TAG,
    RETRY_STRATEGY_TAG,
    RUN_FAILURE_REASON_TAG,
    WILL_RETRY_TAG,
    EngineEventData,
    EventLogConsumerDaemon,
    IWorkspaceProcessContext,
    JobSubsetSelector,
    ReexecutionStrategy,
    RunFailureReason,
    filter_runs_to_should_retry,
)
from dagster_apollo.runs.remainder import Remainder, remainder

# Failed runs that are not done with, and since when: kept where the daemon's cursors are.
_KEPT = "apollo_runs_to_take_up"
_GIVE_UP_SECONDS = 3600.0
# How often failed runs are looked for, and for how long after they failed.
LOOK_SECONDS = 20.0
_LOOK_BACK = timedelta(hours=1)
# Of these a run is to blame itself; of all others, and of none, what happened to it.
_OWN_FAULTS = {
    RunFailureReason.STEP_FAILURE.value,
    RunFailureReason.RUN_EXCEPTION.value,
    RunFailureReason.JOB_INITIALIZATION_FAILURE.value,
}


class RecoveryDaemon(EventLogConsumerDaemon):
    """Dagster's daemon for retries, which here takes runs up by our rules."""

    _looked_at: float | None = None

    @property
    def handle_updated_runs_fns(self) -> Sequence[Callable[..., Iterator[Any]]]:
        return [self._keep_ended]

    def run_iteration(self, workspace_process_context: IWorkspaceProcessContext[Any]) -> Generator[Any, None, None]:
        """Keep what has failed since, then look at all that is kept: also at what could not be taken up before."""
        yield from super().run_iteration(workspace_process_context)
        instance = workspace_process_context.instance
        self._keep_overlooked(instance)
        for run_id, since in _kept(instance).items():
            yield
            try:
                is_done = self._is_done_with(workspace_process_context, run_id, since)
            except Exception:  # whatever is wrong with one run, the others are looked at
                self._logger.exception("run %s cannot be looked at now", run_id)
                is_done = time.time() - since >= _GIVE_UP_SECONDS
            if is_done:
                _forget(instance, run_id)

    def _keep_ended(
        self, context: IWorkspaceProcessContext[Any], records: Sequence[dg.RunRecord], _: logging.Logger
    ) -> Iterator[None]:
        # Kept before anything else: Dagster does not show them again, whatever becomes of this process.
        failed = [r.dagster_run.run_id for r in records if r.dagster_run.status == dg.DagsterRunStatus.FAILURE]
        if failed:
            _keep(context.instance, failed)
        yield

    def _keep_overlooked(self, instance: dg.DagsterInstance) -> None:
        """Keep what has failed and says neither that it is taken up nor that it is not."""
        now = time.monotonic()
        if self._looked_at is not None and now - self._looked_at < LOOK_SECONDS:
            return
        failed_since = dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE], updated_after=datetime.now(UTC) - _LOOK_BACK
        )
        if overlooked := [run.run_id for run in instance.get_runs(failed_since) if not _is_decided(run)]:
            _keep(instance, overlooked)
        self._looked_at = now

    def _is_done_with(self, context: IWorkspaceProcessContext[Any], run_id: str, since: float) -> bool:
        """Take a failed run up if that is to be; whether there is nothing more to try."""
        instance = context.instance
        run = instance.get_run_by_id(run_id)
        if run is None or run.status != dg.DagsterRunStatus.FAILURE:
            return True
        if not list(filter_runs_to_should_retry([run], instance)):
            if not _is_decided(run):  # one of a backfill that is over would be asked about again and again
                instance.add_run_tags(run_id, {WILL_RETRY_TAG: "false"})
            return True
        if not is_to_be_taken_up(instance, run):
            instance.add_run_tags(run_id, {WILL_RETRY_TAG: "false"})
            return True
        return self._is_settled(context, run, since)

    def _is_settled(self, context: IWorkspaceProcessContext[Any], run: dg.DagsterRun, since: float) -> bool:
        """Take a run up; whether there is nothing more to try."""
        instance = context.instance
        try:
            take_up(context, run)
        except AWAY as away:
            if time.time() - since < _GIVE_UP_SECONDS:
                self._logger.warning("run %s cannot be taken up now: %s", run.run_id, type(away).__name__)
                return False
            _leave(instance, run, f"It could not be taken up within an hour: {type(away).__name__}.")
        except dg.DagsterError as error:
            self._logger.exception("run %s cannot be taken up", run.run_id)
            _leave(instance, run, f"It cannot be taken up: {error}")
        return True


def _is_decided(run: dg.DagsterRun) -> bool:
    return AUTO_RETRY_RUN_ID_TAG in run.tags or run.tags.get(WILL_RETRY_TAG) == "false"


def is_to_be_taken_up(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether there is to be another attempt at what a run did not do."""
    asked = unmarked(run.tags)
    limit = asked.get(MAX_RETRIES, "")
    after_failure = asked.get(AFTER_FAILURE, str(instance.run_retries_retry_on_asset_or_op_failure))
    return is_taken_up(
        attempts_of(instance, run),
        int(limit) if limit.isdigit() else instance.run_retries_max_retries,
        after_failure=after_failure.lower() == "true",
    )


def attempts_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[Attempt]:
    """A run and those before it that it takes up, the first one first. A person who begins anew ends the row."""
    found: list[Attempt] = []
    current: dg.DagsterRun | None = run
    while current is not None:
        left = remainder(instance, current)
        found.insert(0, Attempt(_end_of(instance, current), left is not None and left.built))
        is_ours = RETRY_NUMBER_TAG in current.tags
        parent = current.parent_run_id
        current = instance.get_run_by_id(parent) if is_ours and parent else None
    return found


def _end_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> End:
    told = interruption_of(run.run_id, run.tags)
    if told == "told to end":
        return "told to end"
    if told == "killed":
        return "killed"
    if run.tags.get(RUN_FAILURE_REASON_TAG) in _OWN_FAULTS:
        return "failed"
    # One that took too long is cancelled and told as failed, without a reason.
    return "failed" if instance.all_logs(run.run_id, of_type={dg.DagsterEventType.RUN_CANCELING}) else "killed"


def take_up(context: IWorkspaceProcessContext[Any], run: dg.DagsterRun) -> None:
    """Make and submit the next attempt, unless that was done already; a run of which nothing is left is a success.

    Raises:
        DagsterError: one of AWAY when it may be tried again, another when it cannot be done.
    """
    instance, workspace = context.instance, context.create_request_context()
    remove_half_made(instance, run)
    _, group = instance.get_run_group(run.run_id) or (run.run_id, [run])
    attempts = list(group)
    again = [r for r in attempts if r.parent_run_id == run.run_id and RETRY_NUMBER_TAG in r.tags]
    if again:  # the daemon was killed right after
        instance.add_run_tags(run.run_id, {AUTO_RETRY_RUN_ID_TAG: again[0].run_id})
        if again[0].status == dg.DagsterRunStatus.NOT_STARTED:
            instance.submit_run(again[0].run_id, workspace)
        return
    left = remainder(instance, run)
    if left is not None and left.is_empty:
        succeed(instance, run)
        return
    origin = run.remote_job_origin
    if origin is None:
        raise dg.DagsterInvalidSubsetError("The run does not say which code location it is of.")
    name, job_name = origin.repository_origin.repository_name, run.job_name
    location = workspace.get_code_location(origin.location_name)
    if not location.has_repository(name) or not location.get_repository(name).has_job(job_name):
        raise dg.DagsterInvalidSubsetError(f"The location {origin.location_name} has no job {job_name} any more.")
    left = left and left.within(location.get_repository(name).asset_graph)
    if left is not None and left.is_empty:  # Dagster takes a selection of nothing for one of everything
        _leave(instance, run, "What was left of it is no longer in the project.")
        return
    subset = JobSubsetSelector(
        origin.location_name,
        name,
        job_name,
        run.op_selection,
        left.assets if left else run.asset_selection,
        left.checks if left else run.asset_check_selection,
    )
    tags = {
        **next_attempt(run.tags, len(attempts)),
        RETRY_NUMBER_TAG: str(len(attempts)),
        TAKES_UP: run.run_id,
        **({ASSET_RESUME_RETRY_TAG: "true"} if left else {}),
    }
    made = instance.create_reexecuted_run(
        parent_run=run.with_tags({name: tag for name, tag in unmarked(run.tags).items() if name != GRPC_INFO_TAG}),
        request_context=workspace,
        code_location=location,
        remote_job=location.get_job(subset),
        strategy=ReexecutionStrategy.ALL_STEPS if left else _strategy(run),
        extra_tags=tags,
        use_parent_run_tags=True,
    )
    instance.add_run_tags(run.run_id, {AUTO_RETRY_RUN_ID_TAG: made.run_id, WILL_RETRY_TAG: "true"})
    _tell(instance, run, f"It is taken up again: {_count(left)}.", "new run", made)
    _tell(instance, made, f"It takes up another run: {_count(left)}.", "failed run", run)
    instance.submit_run(made.run_id, workspace)


def remove_half_made(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Remove what was to take a run up and was never submitted: a daemon was killed while it made it.

    Nobody knows how much of it is stored. Dagster stores a run before its tags, by which it finds it as an attempt.
    """
    for made in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])):
        if made.parent_run_id == run.run_id and made.tags.get(TAKES_UP) == run.run_id:
            instance.delete_run(made.run_id)


def succeed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Say that a run did all it was to do, though it was ended before it could say so itself."""
    message = "All that the run was to build is recorded as built; its process ended before it could say so."
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name, message=message)
    instance.report_dagster_event(event, run_id=run.run_id)


def _strategy(run: dg.DagsterRun) -> ReexecutionStrategy:
    """How Dagster takes up a run without assets: by its steps, unless a tag says otherwise."""
    asked = run.tags.get(RETRY_STRATEGY_TAG)
    return ReexecutionStrategy.ALL_STEPS if asked == "ALL_STEPS" else ReexecutionStrategy.FROM_FAILURE


def _count(left: Remainder | None) -> str:
    if left is None:
        return "the steps that are left"
    return f"{len(left.assets)} assets and {len(left.checks)} checks are left"


def _tell(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str, name: str, other: dg.DagsterRun) -> None:
    metadata = {name: dg.MetadataValue.dagster_run(other.run_id)}
    instance.report_engine_event(message, run, EngineEventData(metadata))


def _leave(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    instance.report_engine_event(why, run)
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "false"})


def _kept(instance: dg.DagsterInstance) -> dict[str, float]:
    text = instance.daemon_cursor_storage.get_cursor_values({_KEPT}).get(_KEPT)
    return dict(json.loads(text)) if text else {}


def _keep(instance: dg.DagsterInstance, run_ids: Collection[str]) -> None:
    _store(instance, {**dict.fromkeys(run_ids, time.time()), **_kept(instance)})


def _forget(instance: dg.DagsterInstance, run_id: str) -> None:
    _store(instance, {name: since for name, since in _kept(instance).items() if name != run_id})


def _store(instance: dg.DagsterInstance, kept: Mapping[str, float]) -> None:
    instance.daemon_cursor_storage.set_cursor_values({_KEPT: json.dumps(kept)})
