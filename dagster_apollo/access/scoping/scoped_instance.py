"""A Dagster instance as one user sees it: the real one with its storages guarded.

An instance has two hundred public names, and what serves GraphQL reaches past them to the storages; all of it ends in
the storages, so those are what is swapped. Attributes are taken over by name: one that an upgrade adds is absent here.
"""

from __future__ import annotations

from typing import Any

from dagster import DagsterInstance

from dagster_apollo.access.scoping.scope import Refused, Scope
from dagster_apollo.access.scoping.scoped_events import ScopedEventLogStorage
from dagster_apollo.access.scoping.scoped_logs import scoped_compute_logs
from dagster_apollo.access.scoping.scoped_runs import ScopedRunStorage
from dagster_apollo.access.scoping.scoped_schedules import ScopedDefsStateStorage, ScopedScheduleStorage

# What every instance holds and nobody is shown through.
SHARED_ATTRIBUTES = frozenset(
    {
        "_event_buffer",
        "_instance_type",
        "_local_artifact_storage",
        "_ref",
        "_run_coordinator",
        "_run_launcher",
        "_run_monitoring_enabled",
        "_scheduler",
        "_secrets_loader",
        "_settings",
        "_subscribers",
    }
)
# The storages; `run_domain`, which is cached on the real instance and writes through it; what its `with` opened.
GUARDED_ATTRIBUTES = frozenset(
    {
        "_compute_log_manager",
        "_defs_state_storage",
        "_event_storage",
        "_exit_stack",
        "_run_storage",
        "_schedule_storage",
        "run_domain",
    }
)
# Methods that reach around the storages, or tell of the whole machine.
REFUSED_METHODS = (
    "file_manager_directory",
    "info_dict",
    "info_str",
    "inject_env_vars",
    "launch_run",
    "logs_path_for_schedule",
    "optimize_for_webserver",
    "reindex",
    "resume_run",
    "schema_str",
    "upgrade",
    "wipe",
    "wipe_all_schedules",
)


class ScopedInstance(DagsterInstance):
    """What requests of one scope are given as their instance.

    Args:
        real: the instance of the process.
        scope: what its user sees and changes.
    """

    def __init__(self, real: DagsterInstance, scope: Scope) -> None:
        # These load themselves on first use and bind to whoever asks: it has to be the real one.
        _ = real.run_coordinator, real.run_launcher, real.compute_log_manager
        self.__dict__.update({name: value for name, value in vars(real).items() if name in SHARED_ATTRIBUTES})
        self._run_storage = ScopedRunStorage(real.run_storage, scope)
        self._event_storage = ScopedEventLogStorage(real.event_log_storage, scope)
        self._schedule_storage = ScopedScheduleStorage(real.schedule_storage, scope) if real.schedule_storage else None
        defs_state = real.defs_state_storage
        self._defs_state_storage = ScopedDefsStateStorage(defs_state, scope) if defs_state else None
        self._compute_log_manager = scoped_compute_logs(real.compute_log_manager, scope)

    def dispose(self) -> None:
        """Nothing: what there is to end belongs to the real instance."""

    def __exit__(self, *error: object) -> None:
        """Nothing, for the same reason."""


def _refused(name: str) -> Any:
    def method(self: ScopedInstance, *args: Any, **kwargs: Any) -> Any:
        raise Refused(f"instance.{name}")

    return method


for _name in REFUSED_METHODS:
    setattr(ScopedInstance, _name, _refused(_name))
