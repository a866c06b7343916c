"""The daemon's duties: Dagster's, with ours in place of those that look after runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg

from dagster_apollo.runs.coordinator import ImmediateRunCoordinator
from dagster_apollo.runs.daemon_internals import EventLogConsumerDaemon, MonitoringDaemon, QueuedRunCoordinatorDaemon
from dagster_apollo.runs.queue import QueueDaemon
from dagster_apollo.runs.recovery import RecoveryDaemon
from dagster_apollo.runs.watch import WatchDaemon


def with_ours(instance: dg.DagsterInstance, daemons: Iterable[Any]) -> list[Any]:
    """The duties that an instance asks for, ours among them.

    Args:
        instance: Dagster's.
        daemons: as Dagster makes them.
    """
    return [_ours(instance, daemon) for daemon in daemons]


def _ours(instance: dg.DagsterInstance, daemon: Any) -> Any:
    coordinator = instance.run_coordinator
    if isinstance(daemon, QueuedRunCoordinatorDaemon) and isinstance(coordinator, ImmediateRunCoordinator):
        return QueueDaemon(coordinator.queue, daemon.interval_seconds)
    if isinstance(daemon, MonitoringDaemon):
        return WatchDaemon(daemon.interval_seconds)
    if isinstance(daemon, EventLogConsumerDaemon):
        return RecoveryDaemon(int(daemon.interval_seconds))
    return daemon
