"""Whether running schedules keep their times: what the daemon has seen of each, against its cron lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dagster_apollo.host.dagster_internals import WorkspaceProcessContext, reverse_cron_string_iterator

# The daemon looks every few seconds; a schedule whose evaluation takes a minute is not behind yet.
GRACE_SECONDS = 300.0


@dataclass(frozen=True)
class Lag:
    """How far a schedule is behind.

    Attributes:
        missed: the time of the last tick that should have been and was not, in seconds since 1970; None: none is.
        seconds: how long ago that was.
        last_tick: the time of the last tick there was.
    """

    missed: float | None
    seconds: float
    last_tick: float | None

    @property
    def is_behind(self) -> bool:
        return self.missed is not None


def lag_of(crons: Sequence[str], timezone: str | None, since: float, seen: float | None, at: float) -> Lag:
    """How far a schedule is behind.

    Args:
        crons: its cron lines.
        timezone: in which they are read.
        since: when it was turned on.
        seen: the time of its last tick.
        at: now; all in seconds since 1970.
    """
    due = [next(reverse_cron_string_iterator(at - GRACE_SECONDS, cron, timezone)).timestamp() for cron in crons]
    last = max(due)
    if last < since or (seen is not None and seen >= last):
        return Lag(None, 0.0, seen)
    return Lag(last, at - last, seen)


def schedule_lags(context: WorkspaceProcessContext, at: float) -> dict[str, Lag]:
    """Of every running schedule of every loaded location, by `location/name`."""
    instance = context.instance
    storage = instance.schedule_storage
    states: dict[str, Any] = {state.selector_id: state for state in instance.all_instigator_state()}
    found = {}
    for name, entry in context.get_current_workspace().code_location_entries.items():
        location = entry.code_location
        for repository in location.get_repositories().values() if location else ():
            for schedule in repository.get_schedules():
                state = states.get(schedule.selector_id)
                if state is None or storage is None or not schedule.get_current_instigator_state(state).is_running:
                    continue
                data = state.instigator_data
                since = getattr(data, "start_timestamp", None)
                if since is None:
                    continue  # the daemon has not seen it yet; when it is silent, that is told by itself
                ticks = storage.get_ticks(state.instigator_origin_id, schedule.selector_id, limit=1)
                seen = [tick.timestamp for tick in ticks] + [getattr(data, "last_iteration_timestamp", None) or 0.0]
                lines = schedule.cron_schedule
                crons = [lines] if isinstance(lines, str) else list(lines)
                found[f"{name}/{schedule.name}"] = lag_of(
                    crons, schedule.execution_timezone, since, max(seen) or None, at
                )
    return dict(sorted(found.items()))
