"""What belongs to which tenant in one snapshot of the workspace: asset keys, pools, dynamic partitions, instigators.

It is computed once per snapshot, from all locations, for all users alike; what one user may see of it is `scope.py`.
A tenant's id is the first part of its asset keys, so a key has an owner also when nothing is loaded that defines it;
whose a location is, its name says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import AssetKey

from dagster_apollo.access.scoping.dagster_internals import (
    SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET,
    CurrentWorkspace,
    DynamicPartitionsDefinition,
    MultiPartitionsDefinition,
    RemoteRepository,
)
from dagster_apollo.locations import tenant_of


@dataclass(frozen=True)
class Ownership:
    """Who owns what.

    Attributes:
        definers: the locations that really define an asset; a stub, which stands for an asset of another location that
            somebody depends on, is no definition.
        selectors: the selector ids of each location's schedules and sensors.
        labels: the labels of each location's repositories, as `.dagster/repository` tags runs.
        pools: the locations whose assets use a pool.
        dynamic_partitions: the locations whose assets are partitioned by a dynamic definition, by its name.
    """

    definers: Mapping[AssetKey, frozenset[str]]
    selectors: Mapping[str, frozenset[str]]
    labels: Mapping[str, frozenset[str]]
    pools: Mapping[str, frozenset[str]]
    dynamic_partitions: Mapping[str, frozenset[str]]

    def owners(self, key: AssetKey) -> frozenset[str]:
        """The tenants that an asset key belongs to: the one that it begins with, and all that define it."""
        return frozenset({key.path[0]}) | {tenant_of(location) for location in self.definers.get(key, ())}


@dataclass
class _Found:
    by_name: dict[Any, set[str]] = field(default_factory=dict)

    def add(self, name: Any, location: str) -> None:
        self.by_name.setdefault(name, set()).add(location)

    def frozen(self) -> dict[Any, frozenset[str]]:
        return {name: frozenset(locations) for name, locations in self.by_name.items()}


def ownership_of(workspace: CurrentWorkspace) -> Ownership:
    """Read it from every location that is loaded."""
    definers: dict[AssetKey, frozenset[str]] = {}
    for node in workspace.asset_graph.asset_nodes:
        declared = [info.asset_node for info in node.repo_scoped_asset_infos]
        real = [entry for entry in declared if entry.is_executable] or [
            entry for entry in declared if not entry.metadata.get(SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET)
        ]
        definers[node.key] = frozenset(entry.repository_handle.location_name for entry in real)

    selectors, labels, pools, dynamic = _Found(), _Found(), _Found(), _Found()
    for location, entry in workspace.code_location_entries.items():
        if entry.code_location is None:
            continue
        for repository in entry.code_location.get_repositories().values():
            labels.add(location, repository.handle.get_remote_origin().get_label())
            for selector_id in selector_ids(repository):
                selectors.add(location, selector_id)
            for asset in repository.asset_graph.asset_nodes:
                if location not in definers.get(asset.key, frozenset()):
                    continue
                for pool in asset.pools or ():
                    pools.add(pool, location)
                for name in _dynamic_names(asset.partitions_def):
                    dynamic.add(name, location)
    return Ownership(definers, selectors.frozen(), labels.frozen(), pools.frozen(), dynamic.frozen())


def selector_ids(repository: RemoteRepository) -> list[str]:
    """What identifies its schedules and sensors."""
    schedules = [schedule.selector_id for schedule in repository.get_schedules()]
    return schedules + [sensor.selector_id for sensor in repository.get_sensors()]


def _dynamic_names(partitions: Any) -> Iterator[str]:
    parts = [partitions]
    if isinstance(partitions, MultiPartitionsDefinition):
        parts = [dimension.partitions_def for dimension in partitions.partitions_defs]
    for part in parts:
        if isinstance(part, DynamicPartitionsDefinition) and part.name:
            yield part.name
