"""What is written on a run that ended for no fault of its own, and when such a run is taken up again.

Tags and a rule, nothing else: a run is marked by whoever sees it end (dbt's caller, the code host that drains), and
the daemon, which reads the marks and applies the rule, is `runs/recovery.py`. A run that fails for its own reasons has
no mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# Dagster's tags: https://docs.dagster.io/deployment/execution/run-retries
MAX_RETRIES = "dagster/max_retries"
AFTER_FAILURE = "dagster/retry_on_asset_or_op_failure"
# Ours: how the run was interrupted, what the two tags above said before they were changed, and which run it takes up.
INTERRUPTED = "apollo/interrupted"
TAKES_UP = "apollo/takes_up"
_INTERRUPTED_RUN = "apollo/interrupted_run"
_AFTER_FAILURE_BEFORE = "apollo/retry_on_asset_or_op_failure"
_MAX_RETRIES_BEFORE = "apollo/max_retries"
_UNSET = "unset"
_OUT_OF_REACH = "1000000"
_OURS = (INTERRUPTED, TAKES_UP, _INTERRUPTED_RUN, _AFTER_FAILURE_BEFORE, _MAX_RETRIES_BEFORE)

# A deploy interrupts for a good reason, and there may be many; this many attempts are an accident nobody foresaw.
MOST_ATTEMPTS = 100

Interruption = Literal["told to end", "killed"]
End = Literal["told to end", "killed", "failed"]


def marks(how: Interruption, run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags to add to a run that is being, or was, interrupted; none where that was said before.

    Dagster decides while the run fails whether that is told as final. It takes a step that failed for the run's own
    fault, and counts all attempts, also those of a person. So the tags that say what then happens are changed, and what
    they said is kept.

    Args:
        how: what happened.
        run_id: the run; a person's re-execution has the tags of the run before.
        tags: the run's.
    """
    if interruption_of(run_id, tags):
        return {}
    asked = unmarked(tags)
    return {
        INTERRUPTED: how,
        _INTERRUPTED_RUN: run_id,
        _AFTER_FAILURE_BEFORE: asked.get(AFTER_FAILURE, _UNSET),
        AFTER_FAILURE: "true",
        _MAX_RETRIES_BEFORE: asked.get(MAX_RETRIES, _UNSET),
        MAX_RETRIES: _OUT_OF_REACH,
    }


def interruption_of(run_id: str, tags: Mapping[str, str]) -> str | None:
    """How a run was interrupted, as its tags say; None: they do not."""
    return tags.get(INTERRUPTED) if tags.get(_INTERRUPTED_RUN) == run_id else None


def unmarked(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags as they were asked for: what the next attempt is given."""
    found = {name: value for name, value in tags.items() if name not in _OURS}
    for name, before in ((AFTER_FAILURE, _AFTER_FAILURE_BEFORE), (MAX_RETRIES, _MAX_RETRIES_BEFORE)):
        if before in tags:
            found.pop(name, None)
            if tags[before] != _UNSET:
                found[name] = tags[before]
    return found


def next_attempt(tags: Mapping[str, str], attempts: int) -> dict[str, str]:
    """The tags that the attempt after some others has beside what was asked for.

    Dagster counts all attempts against one limit, of which interruptions are no part here. So its limit is kept out of
    reach, and `is_taken_up` decides.

    Args:
        tags: of the attempt before.
        attempts: how many there were.
    """
    return {_MAX_RETRIES_BEFORE: unmarked(tags).get(MAX_RETRIES, _UNSET), MAX_RETRIES: str(attempts + 1)}


@dataclass(frozen=True)
class Attempt:
    """One run of several that do the same piece of work.

    Attributes:
        end: how it ended.
        built: whether it recorded anything that the next one need not do.
    """

    end: End
    built: bool


def is_taken_up(attempts: Sequence[Attempt], limit: int, *, after_failure: bool) -> bool:
    """Whether there is to be another attempt.

    One that was told to end is always taken up. Deaths count only as long as nothing is built in between, so that work
    that goes on is brought to its end, and work that kills its process each time is not begun for ever.

    Args:
        attempts: all of them, the last one last.
        limit: how many may fail, or die in a row without having built anything.
        after_failure: whether one that failed for its own reasons is taken up at all.
    """
    if len(attempts) >= MOST_ATTEMPTS:
        return False
    match attempts[-1].end:
        case "told to end":
            return True
        case "failed":
            return after_failure and sum(attempt.end == "failed" for attempt in attempts) <= limit
    in_vain = 0
    for attempt in reversed(attempts):
        if attempt.built:
            break
        in_vain += attempt.end == "killed"
    return limit > 0 and in_vain <= limit
