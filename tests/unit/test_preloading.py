"""When the zygote imports what tenants' processes use: not while it is asked for what is looked at in a moment."""

from __future__ import annotations

import pytest

from dagster_apollo.code_host import zygote
from dagster_apollo.code_host.zygote import Preloading


class Clock:
    """The time, as it is told."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(zygote, "time", clock)
    return clock


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded, of two things."""
    done: list[str] = []
    monkeypatch.setattr(zygote, "steps", lambda adapters: [lambda: done.append("first"), lambda: done.append("second")])
    return done


def test_it_waits_until_nobody_has_asked_for_a_while(clock: Clock, done: list[str]) -> None:
    preloading = Preloading(())
    quiet = preloading.seconds_until_next()
    assert quiet
    clock.now += quiet - 1
    preloading.prepared(7)
    preloading.ended(7)

    assert preloading.seconds_until_next() == quiet
    clock.now += quiet
    assert preloading.seconds_until_next() == 0


def test_a_tenant_that_is_prepared_for_longer_wants_it_sooner(clock: Clock, done: list[str]) -> None:
    preloading = Preloading(())
    quiet = preloading.seconds_until_next()
    preloading.prepared(7)
    soon = preloading.seconds_until_next()

    assert quiet is not None
    assert soon is not None
    assert 0 < soon < quiet
    clock.now += soon
    assert preloading.seconds_until_next() == 0
    preloading.ended(7)
    assert preloading.seconds_until_next() == quiet - soon


def test_when_all_is_loaded_there_is_nothing_to_wait_for(clock: Clock, done: list[str]) -> None:
    preloading = Preloading(())
    preloading.step()
    assert not preloading.is_done
    preloading.step()

    assert done == ["first", "second"]
    assert preloading.is_done
    assert preloading.seconds_until_next() is None
