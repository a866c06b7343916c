"""What one user may see and change in one snapshot of the workspace, as questions that the storages ask.

Nothing here reads a request or changes anything; who the user is stands in `users.py`, who owns what in
`ownership.py`. Every question is answered no unless there is a reason for yes: an id that nobody knows, a run without
an origin and a key without an owner belong to nobody but those who see everything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache

from dagster import AssetKey, DagsterInstance, DagsterRun, RunsFilter

from dagster_apollo.access.scoping.dagster_internals import (
    REPOSITORY_LABEL_TAG,
    AssetCheckKey,
    InstigatorState,
    InstigatorTick,
    PartitionBackfill,
)
from dagster_apollo.access.scoping.ownership import Ownership
from dagster_apollo.access.users import User
from dagster_apollo.errors import ApolloError
from dagster_apollo.locations import tenant_of

# A filter with an empty list filters nothing: a label that no repository has stands where none is permitted. Postgres
# takes every character but NUL.
NOTHING = "\x01"
LABELS_AGE_SECONDS = 10.0
_REMEMBERED_RUNS = 100_000


class Refused(ApolloError):
    """This user may not do this. The message tells nothing of what is there: it is shown to who was refused."""

    def __init__(self, what: str = "this") -> None:
        super().__init__(f"not permitted: {what}")


class _UnknownRun(Exception):
    """No such run, yet: an exception, because `lru_cache` does not remember one."""


class RunLocations:
    """Which location a run belongs to, remembered for the life of the process: it never changes."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self._known = lru_cache(_REMEMBERED_RUNS)(self._look_up)
        self._lock = threading.Lock()
        self._labels: frozenset[str] = frozenset()
        self._labels_read = float("-inf")

    def _look_up(self, run_id: str) -> str | None:
        runs = self._instance.run_storage.get_runs(RunsFilter(run_ids=[run_id]), limit=1)
        if not runs:
            raise _UnknownRun
        return run_location(runs[0])

    def find(self, run_id: object) -> tuple[bool, str | None]:
        """Whether there is such a run, and its location; a run that no location launched has none."""
        if not isinstance(run_id, str) or not run_id:
            return False, None
        try:
            return True, self._known(run_id)
        except _UnknownRun:
            return False, None

    def labels(self) -> frozenset[str]:
        """Every repository label that tags a run, so that runs of a location that is gone are still found."""
        with self._lock:
            if time.monotonic() - self._labels_read > LABELS_AGE_SECONDS:
                tags = dict(self._instance.run_storage.get_run_tags([REPOSITORY_LABEL_TAG]))
                self._labels = frozenset(tags.get(REPOSITORY_LABEL_TAG, ()))
                self._labels_read = time.monotonic()
            return self._labels


def run_location(run: DagsterRun) -> str | None:
    """The location that launched a run, by its origin: the tag that says the same can be set by who launches."""
    return run.remote_job_origin.location_name if run.remote_job_origin else None


def state_location(state: InstigatorState) -> str:
    """The location of a schedule or sensor whose state is stored."""
    return state.origin.repository_origin.code_location_origin.location_name


class Scope:
    """What a user sees and changes.

    Args:
        user: who asks.
        instance: the real instance, with nothing hidden.
        ownership: of the whole workspace.
        runs: where runs belong.
    """

    def __init__(self, user: User, instance: DagsterInstance, ownership: Ownership, runs: RunLocations) -> None:
        self.user = user
        self.readable = user.readable
        self._instance = instance
        self._ownership = ownership
        self._runs = runs
        self._own_selectors = self._of_visible_locations(ownership.selectors)
        self._own_labels = self._of_visible_locations(ownership.labels)
        self._job_snapshots: set[str] = set()

    def _of_visible_locations(self, by_location: Mapping[str, frozenset[str]]) -> frozenset[str]:
        return frozenset(name for location, names in by_location.items() if self.sees(location) for name in names)

    # ---- seeing

    @property
    def confined(self) -> bool:
        return self.readable is not None

    def sees(self, location: str | None) -> bool:
        """Whether a location is visible, as all of its tenant's are; None is what belongs to no location."""
        return self.readable is None or (location is not None and tenant_of(location) in self.readable)

    def sees_key(self, key: object) -> bool:
        """Whether an asset, or an asset check, is visible; what is neither is not."""
        if not self.confined:
            return True
        asset = key.asset_key if isinstance(key, AssetCheckKey) else key
        return isinstance(asset, AssetKey) and self._ownership.owners(asset) <= (self.readable or frozenset())

    def visible_keys(self) -> list[AssetKey]:
        """All assets of the workspace that are visible."""
        return [key for key in self._ownership.definers if self.sees_key(key)]

    def sees_pool(self, pool: str) -> bool:
        return not self.confined or any(self.sees(user) for user in self._ownership.pools.get(pool, ()))

    def sees_dynamic_partitions(self, name: str) -> bool:
        users = self._ownership.dynamic_partitions.get(name, frozenset())
        return not self.confined or any(self.sees(user) for user in users)

    def sees_run(self, run_id: object) -> bool:
        if not self.confined:
            return True
        exists, location = self._runs.find(run_id)
        return exists and self.sees(location)

    def labels(self) -> list[str]:
        """The repository labels by which visible runs are tagged; never empty."""
        past = {label for label in self._runs.labels() if self.sees(label.partition("@")[2])}
        return sorted(past | self._own_labels) or [NOTHING]

    def sees_backfill(self, backfill: PartitionBackfill) -> bool:
        return not self.confined or self._all_of_backfill(backfill, self.sees, self.sees_key)

    def sees_instigator(self, origin_id: str, selector_id: str | None) -> bool:
        """Whether a schedule or sensor is visible, also one that is no longer defined."""
        if not self.confined or selector_id in self._own_selectors:
            return True
        state = self._instance.get_instigator_state(origin_id, selector_id) if selector_id else None
        return state is not None and self.sees(state_location(state))

    def sees_tick(self, tick: InstigatorTick) -> bool:
        return self.sees_instigator(tick.instigator_origin_id, tick.selector_id)

    def sees_job_snapshot(self, snapshot_id: str) -> bool:
        """Whether a run that is visible was launched from this version of a job."""
        if not self.confined or snapshot_id in self._job_snapshots:
            return True
        own = RunsFilter(snapshot_id=snapshot_id, tags={REPOSITORY_LABEL_TAG: self.labels()})
        if any(self.sees(run_location(run)) for run in self._instance.run_storage.get_runs(own, limit=1)):
            self._job_snapshots.add(snapshot_id)
            return True
        return False

    def remember_job_snapshot(self, snapshot_id: str) -> None:
        """The whole job that a visible part of it was taken from is visible as well."""
        self._job_snapshots.add(snapshot_id)

    def sees_log_key(self, log_key: Sequence[str] | None) -> bool:
        """Whether captured output may be read: a run's, a backfill's, or a tick's.

        A key is made of folders, so a part that climbs out of its own would reach another run's output. A tick's key
        is `[repository, instigator, tick id]`, the same in every location: the tick itself says whose it is.
        """
        if not self.confined:
            return True
        key = list(log_key or ())
        if not key or not all(isinstance(part, str) and _is_one_folder(part) for part in key):
            return False
        if key[0] == "backfill":
            backfill = self._instance.get_backfill(key[1]) if len(key) > 1 else None
            return backfill is not None and self.sees_backfill(backfill)
        if self.sees_run(key[0]):
            return True
        if len(key) != 3 or not key[2].isdecimal() or self._instance.schedule_storage is None:
            return False
        ticks = self._instance.schedule_storage.get_ticks_by_ids([int(key[2])])
        return any(list(tick.log_key or ()) == key and self.sees_tick(tick) for tick in ticks)

    # ---- changing

    def operates(self, location: str | None) -> bool:
        """Whether this user may change what belongs to a location."""
        if not self.sees(location):
            return False
        return self.user.is_administrator if location is None else self.user.may_operate(tenant_of(location))

    def operates_key(self, key: object) -> bool:
        """Whether an asset may be changed: a stub in one's own graph does not make it one's own."""
        asset = key.asset_key if isinstance(key, AssetCheckKey) else key
        return isinstance(asset, AssetKey) and all(map(self._operates_tenant, self._ownership.owners(asset)))

    def _operates_tenant(self, tenant: str) -> bool:
        return (self.readable is None or tenant in self.readable) and self.user.may_operate(tenant)

    def require_location(self, location: str | None) -> None:
        if not self.operates(location):
            raise Refused("changing this location")

    def require_run(self, run_id: object) -> None:
        exists, location = self._runs.find(run_id)
        if not exists or not self.operates(location):
            raise Refused("changing this run")

    def require_key(self, key: object) -> None:
        if not self.operates_key(key):
            raise Refused("changing this asset")

    def require_backfill(self, backfill: PartitionBackfill) -> None:
        if not self._all_of_backfill(backfill, self.operates, self.operates_key):
            raise Refused("changing this backfill")

    def require_dynamic_partitions(self, name: str) -> None:
        """Partitions are kept by their definition's name alone: all who use that name are changed with it."""
        users = self._ownership.dynamic_partitions.get(name, frozenset())
        if not users or not all(map(self.operates, users)):
            raise Refused("changing these partitions")

    @staticmethod
    def _all_of_backfill(
        backfill: PartitionBackfill, of_location: Callable[[str | None], bool], of_key: Callable[[object], bool]
    ) -> bool:
        """Ask of every asset of a backfill, or of the location of the job that it is of."""
        if backfill.is_asset_backfill:
            keys: Collection[AssetKey] = backfill.asset_selection or ()
            return bool(keys) and all(map(of_key, keys))
        origin = backfill.partition_set_origin
        return origin is not None and of_location(origin.selector.location_name)


def _is_one_folder(part: str) -> bool:
    return part not in ("", ".", "..") and not any(character in part for character in "/\\\0")
