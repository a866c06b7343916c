"""When a run that ended badly is taken up again, and what its tags say meanwhile."""

from __future__ import annotations

import pytest

from dagster_apollo.interruptions import (
    INTERRUPTED,
    MOST_ATTEMPTS,
    Attempt,
    End,
    interruption_of,
    is_taken_up,
    marks,
    next_attempt,
    unmarked,
)

FAILED, KILLED, TOLD = Attempt("failed", False), Attempt("killed", False), Attempt("told to end", False)


def test_a_run_that_was_told_to_end_is_taken_up_however_often() -> None:
    assert is_taken_up([TOLD] * 20, 0, after_failure=False)


def test_a_run_that_fails_for_its_own_reasons_is_not_taken_up_unless_its_tenant_asks() -> None:
    assert not is_taken_up([FAILED], 2, after_failure=False)
    assert [is_taken_up([FAILED] * times, 2, after_failure=True) for times in (1, 2, 3)] == [True, True, False]


def test_a_run_that_kills_its_process_each_time_is_given_up() -> None:
    assert [is_taken_up([KILLED] * times, 2, after_failure=False) for times in (1, 2, 3)] == [True, True, False]


def test_a_run_that_is_killed_again_and_again_goes_on_as_long_as_it_gets_anywhere() -> None:
    on_the_way = [Attempt("killed", True)] * 9

    assert is_taken_up(on_the_way, 1, after_failure=False)
    assert is_taken_up([*on_the_way, KILLED], 1, after_failure=False)
    assert not is_taken_up([*on_the_way, KILLED, KILLED], 1, after_failure=False)


@pytest.mark.parametrize("end", ["told to end", "killed", "failed"])
def test_no_accident_goes_on_for_ever(end: End) -> None:
    assert not is_taken_up([Attempt(end, True)] * MOST_ATTEMPTS, 1000, after_failure=True)


def test_a_tenant_without_retries_is_interrupted_for_good() -> None:
    assert not is_taken_up([Attempt("killed", True)], 0, after_failure=False)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false", "team": "a"},
        {"dagster/retry_on_asset_or_op_failure": "true"},
        {"dagster/max_retries": "0"},
    ],
)
def test_what_was_asked_for_of_a_run_is_asked_of_every_attempt(asked: dict[str, str]) -> None:
    marked = {**asked, **marks("killed", "one", asked)}
    assert marked[INTERRUPTED] == "killed"
    # Or Dagster tells it as final.
    assert marked["dagster/retry_on_asset_or_op_failure"] == "true"
    assert int(marked["dagster/max_retries"]) > MOST_ATTEMPTS
    assert unmarked(marked) == asked

    second = {**unmarked(marked), **next_attempt(marked, 1)}
    assert INTERRUPTED not in second
    assert second["dagster/max_retries"] == "2"
    assert unmarked(second) == asked
    third = {**second, **marks("told to end", "two", second)}
    assert unmarked({**unmarked(third), **next_attempt(third, 7)}) == asked


def test_the_first_mark_stands() -> None:
    once = {**marks("told to end", "one", {})}

    assert marks("killed", "one", once) == {}
    assert interruption_of("one", once) == "told to end"


def test_a_mark_is_of_one_run_though_a_person_begins_anew_with_its_tags() -> None:
    inherited = marks("killed", "one", {})

    assert interruption_of("two", inherited) is None
    assert unmarked({**inherited, **marks("told to end", "two", inherited)}) == {}
