"""What counts as well before a deploy."""

from __future__ import annotations

from typing import cast

import pytest

from dagster_apollo.deploy.smoke import Health, StatusPage, look_when_settled

WELL = Health(ok=True, locations={"acme": True})
RED = Health(ok=False, locations={"acme": False}, reasons={"location acme": "does not load"})
UNHEARD = Health(unheard="no answer")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Page:
    """A status page that says one thing after the other, and then the last one for good."""

    def __init__(self, *said: Health) -> None:
        self._said = list(said)

    def look(self) -> Health:
        return self._said.pop(0) if len(self._said) > 1 else self._said[0]


@pytest.mark.parametrize(
    ("said", "known", "waited"),
    [
        pytest.param([WELL], WELL, 0, id="what is well is taken at once"),
        pytest.param([RED, RED, WELL], WELL, 6, id="what passes is not held to have been broken"),
        pytest.param([RED], RED, 90, id="what stays was broken before"),
        pytest.param([UNHEARD], UNHEARD, 0, id="who does not answer is not waited for"),
    ],
)
def test_a_location_that_is_red_for_a_moment_was_not_broken_before(
    said: list[Health], known: Health, waited: float
) -> None:
    clock = Clock()

    found = look_when_settled(cast(StatusPage, Page(*said)), clock=clock, settle_seconds=90, poll_seconds=3)

    assert found == known
    assert clock.seconds == waited
