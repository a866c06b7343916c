"""When a schedule is behind: a tick that was due a while ago has not come, and it was on by then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dagster_apollo.host.schedule_lag import GRACE_SECONDS, lag_of

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
LONG_AGO = (NOON - timedelta(days=30)).timestamp()
HOURLY, DAILY = "0 * * * *", "30 6 * * *"


def after(**time: float) -> float:
    return (NOON + timedelta(**time)).timestamp()


def test_a_schedule_whose_last_tick_came_is_on_time() -> None:
    assert not lag_of([HOURLY], "UTC", LONG_AGO, after(), after(minutes=30)).is_behind


def test_a_tick_that_did_not_come_is_told_with_its_time() -> None:
    lag = lag_of([HOURLY], "UTC", LONG_AGO, after(hours=-1), after(minutes=30))

    assert lag.missed == NOON.timestamp()
    assert lag.seconds == 1800


def test_a_tick_that_is_due_now_is_waited_for() -> None:
    assert not lag_of([HOURLY], "UTC", LONG_AGO, after(hours=-1), after(seconds=GRACE_SECONDS - 1)).is_behind


def test_a_schedule_that_was_just_turned_on_owes_nothing() -> None:
    assert not lag_of([HOURLY], "UTC", after(minutes=20), None, after(minutes=40)).is_behind


def test_one_that_never_ticked_since_is_behind() -> None:
    assert lag_of([HOURLY], "UTC", after(minutes=-20), None, after(minutes=40)).is_behind


@pytest.mark.parametrize(("zone", "missed"), [("UTC", 6.5), ("Europe/Stockholm", 5.5)])
def test_cron_lines_are_read_in_the_schedules_time_zone(zone: str, missed: float) -> None:
    lag = lag_of([DAILY], zone, LONG_AGO, LONG_AGO, after())

    assert lag.missed == (NOON.replace(hour=0) + timedelta(hours=missed)).timestamp()


def test_of_several_cron_lines_the_latest_counts() -> None:
    assert lag_of([DAILY, HOURLY], "UTC", LONG_AGO, LONG_AGO, after(minutes=30)).missed == NOON.timestamp()
