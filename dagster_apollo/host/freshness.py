"""How often the daemon looks whether assets are as fresh as their policies ask.

Evaluating is Dagster's; it walks all assets of all locations each time, which with many tenants is most of what an idle
daemon does. So the walk is rare, unless a policy asks for more.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from typing import Any

import dagster as dg

from dagster_apollo.host.dagster_internals import (
    CronFreshnessPolicy,
    DagsterDaemon,
    FreshnessDaemon,
    IWorkspaceProcessContext,
    TimeWindowFreshnessPolicy,
    create_daemons_from_instance,
)

LONGEST_SECONDS = 600.0
SHORTEST_SECONDS = 30.0


def walk_seconds(policies: Iterable[dg.FreshnessPolicy | None]) -> float:
    """The time between two walks: half of the shortest time that a policy grants, within bounds."""
    granted = [LONGEST_SECONDS * 2]
    for policy in policies:
        if isinstance(policy, TimeWindowFreshnessPolicy):
            shortest = policy.warn_window or policy.fail_window
            granted.append(shortest.to_timedelta().total_seconds())
        elif isinstance(policy, CronFreshnessPolicy):
            granted.append(policy.lower_bound_delta.total_seconds())
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, min(granted) / 2))


class RareFreshnessDaemon(FreshnessDaemon):
    """Dagster's freshness daemon, which walks as often as the shortest policy asks, or a location that changed."""

    def __init__(self) -> None:
        super().__init__(interval_seconds=int(SHORTEST_SECONDS))
        self._seen: list[tuple[str, str]] = []
        self._walk_seconds = SHORTEST_SECONDS
        self._next_walk = 0.0

    def run_iteration(self, workspace_process_context: IWorkspaceProcessContext[Any]) -> Generator[Any, None, None]:
        """Walk if it is time; a location that came or changed is read first, and walked at once."""
        context = workspace_process_context.create_request_context()
        seen = [(entry.location_name, entry.version_key) for entry in context.get_code_location_statuses()]
        if seen != self._seen:
            policies = [node.freshness_policy_or_from_metadata for node in context.asset_graph.asset_nodes]
            self._seen, self._walk_seconds, self._next_walk = seen, walk_seconds(policies), 0.0
        if time.monotonic() >= self._next_walk:
            self._next_walk = time.monotonic() + self._walk_seconds
            yield from super().run_iteration(workspace_process_context)
        yield


def create_daemons(instance: dg.DagsterInstance) -> list[DagsterDaemon[Any]]:
    """The daemon's duties that an instance asks for, with this one in place of Dagster's."""
    return [
        RareFreshnessDaemon() if isinstance(daemon, FreshnessDaemon) else daemon
        for daemon in create_daemons_from_instance(instance)
    ]
