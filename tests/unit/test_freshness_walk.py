"""How often the daemon looks whether assets are fresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.host import freshness
from dagster_apollo.host.dagster_internals import FreshnessDaemon
from dagster_apollo.host.freshness import RareFreshnessDaemon, create_daemons, walk_seconds

MINUTE = dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=1))
DAY = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1))


@pytest.mark.parametrize(
    ("policies", "seconds"),
    [
        ([], 600),
        ([None, None], 600),
        ([DAY], 600),
        ([None, DAY, MINUTE], 30),
        ([dg.FreshnessPolicy.time_window(timedelta(hours=1), warn_window=timedelta(minutes=10))], 300),
        ([dg.FreshnessPolicy.cron("0 6 * * *", lower_bound_delta=timedelta(minutes=4))], 120),
    ],
)
def test_all_assets_are_walked_as_often_as_the_shortest_policy_asks(
    policies: list[dg.FreshnessPolicy | None], seconds: float
) -> None:
    assert walk_seconds(policies) == seconds


@dataclass
class Node:
    freshness_policy_or_from_metadata: dg.FreshnessPolicy | None


@dataclass
class Location:
    location_name: str
    version_key: str


@dataclass
class Workspace:
    """As much of a workspace as says which locations there are, and when its graph is asked for."""

    locations: list[Location]
    asset_nodes: list[Node]
    graphs_made: int = 0

    def create_request_context(self) -> Workspace:
        return self

    def get_code_location_statuses(self) -> list[Location]:
        return self.locations

    @property
    def asset_graph(self) -> Workspace:
        self.graphs_made += 1
        return self


@dataclass
class Clock:
    now: float = 1000.0
    walks: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time, which a test moves on, and when Dagster walked."""
    clock = Clock()

    def walk(daemon: FreshnessDaemon, context: Any) -> Iterator[None]:
        clock.walks.append(clock.now - 1000)
        yield

    monkeypatch.setattr(freshness, "time", clock)
    monkeypatch.setattr(FreshnessDaemon, "run_iteration", walk)
    return clock


def turn(daemon: RareFreshnessDaemon, workspace: Workspace, clock: Clock, times: int) -> None:
    """What the daemon's loop does every 30 seconds."""
    for _ in range(times):
        list(daemon.run_iteration(workspace))  # type: ignore[arg-type]
        clock.now += daemon.interval_seconds


def test_where_nothing_asks_for_more_the_walk_is_every_ten_minutes_and_the_graph_is_left_alone(clock: Clock) -> None:
    workspace = Workspace([Location("shop", "1")], [Node(None), Node(DAY)])

    turn(RareFreshnessDaemon(), workspace, clock, times=41)

    assert clock.walks == [0, 600, 1200]
    assert workspace.graphs_made == 1


def test_a_location_that_comes_with_a_short_policy_is_walked_from_then_on(clock: Clock) -> None:
    daemon = RareFreshnessDaemon()
    workspace = Workspace([Location("shop", "1")], [Node(None)])
    turn(daemon, workspace, clock, times=4)
    workspace.locations = [*workspace.locations, Location("kaizen", "1")]
    workspace.asset_nodes = [*workspace.asset_nodes, Node(MINUTE)]

    turn(daemon, workspace, clock, times=3)

    assert clock.walks == [0, 120, 150, 180]


def test_the_daemon_that_is_served_has_it_in_place_of_dagsters(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        kinds = [type(daemon) for daemon in create_daemons(instance)]

    assert kinds.count(RareFreshnessDaemon) == 1
    assert FreshnessDaemon not in kinds
