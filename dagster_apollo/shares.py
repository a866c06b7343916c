"""What each code location of one tenant serves: its definitions cut along their groups, the edges between them whole.

An edge is an asset's dependency on a key; Dagster joins them over all locations. What runs (a schedule, a sensor, a
job, a check) stays with the location that holds what it targets. How locations are called is `locations.py`; what the
tenant has is `definitions.py`, which knows nothing of this.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.tenant import TENANT_FILE, Tenant

# The tag by which a sensor or an op's job that targets no asset says with which group it is served.
GROUP_TAG = "apollo/group"
EVERY_GROUP = "*"


def share_of(definitions: dg.Definitions, tenant: Tenant, group: str | None) -> dg.Definitions:
    """What one of a tenant's code locations serves.

    Args:
        definitions: everything of the tenant.
        tenant: whose.
        group: the group that the location serves; None: all.

    Raises:
        TenantError: a group is served by no location, a location serves no group, or something belongs to several.
    """
    if group is None:
        return definitions
    cut = _Cut(definitions, tenant)
    share = cut.share(group)
    if cut.problems:
        raise TenantError(cut.problems, f"the tenant {tenant.name} cannot be served by several code locations")
    return share


def share_problems(definitions: dg.Definitions, tenant: Tenant) -> list[Problem]:
    """What keeps a tenant's definitions from being served by the locations that its `tenant.yaml` names."""
    problems: list[Problem] = []
    for group in tenant.config.code_locations:
        try:
            share_of(definitions, tenant, group).get_repository_def().load_all_definitions()
        except TenantError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    return problems


@dataclass
class _Cut:
    definitions: dg.Definitions
    tenant: Tenant
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._groups = list(self.tenant.config.code_locations)
        self._where = f"tenants/{self.tenant.name}/{TENANT_FILE}: code_locations"
        self._graph = self.definitions.resolve_asset_graph()
        self._group_of = self._place_assets()

    def share(self, group: str) -> dg.Definitions:
        ours = self.definitions
        assets = list(self._assets(ours.assets or (), group))
        return dg.Definitions(
            assets=[*assets, *self._named_from_elsewhere(assets, group)],
            asset_checks=list(self._assets(ours.asset_checks or (), group)),
            jobs=list(self._jobs(group)),
            schedules=list(self._schedules(group)),
            sensors=list(self._sensors(group)),
            resources=ours.resources,
            executor=ours.executor,
            loggers=ours.loggers,
            metadata=ours.metadata,
        )

    # ---- Where everything belongs. ----

    def _place_assets(self) -> dict[dg.AssetKey, str]:
        """Of each asset, the group whose location serves it. A source goes to who reads it first."""
        placed: dict[dg.AssetKey, str] = {}
        unserved: dict[str, list[str]] = {}
        nodes = list(self._graph.asset_nodes)
        for node in nodes:
            if node.group_name in self._groups:
                placed[node.key] = str(node.group_name)
            elif node.is_executable:
                unserved.setdefault(str(node.group_name), []).append(node.key.to_user_string())
        for group, keys in sorted(unserved.items()):
            shown = ", ".join(sorted(keys)[:3]) + (", …" if len(keys) > 3 else "")
            what = f"no location serves the group {group} ({shown})"
            self._refuse(self._where, what, f"Name it: `code_locations: [{', '.join([*self._groups, group])}]`.")
        known = {str(node.group_name) for node in nodes}
        for group in self._groups:
            if group not in known:
                near = difflib.get_close_matches(group, known, 1)
                hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known)) or 'none'}."
                self._refuse(self._where, f"there is no group {group}", hint)
        for node in nodes:
            if node.key not in placed:
                readers = {placed[child] for child in node.child_keys if child in placed}
                placed[node.key] = next((group for group in self._groups if group in readers), self._groups[0])
        return placed

    def _groups_of(self, keys: Iterable[dg.AssetKey]) -> set[str]:
        return {self._group_of.get(key, self._groups[0]) for key in keys}

    def _selected(self, selection: dg.AssetSelection) -> tuple[set[dg.AssetKey], set[dg.AssetCheckKey]]:
        return set(selection.resolve(self._graph)), set(selection.resolve_checks(self._graph))

    def _groups_of_job(self, job: Any) -> set[str]:
        """Where a job belongs: of assets, where these are; of ops, where its tag says."""
        if isinstance(job, str):
            found = [known for known in self.definitions.jobs or () if known.name == job]
            return self._groups_of_job(found[0]) if found else set()
        if _is_of_assets(job):
            keys, checks = self._selected(job.selection)
            return self._groups_of(keys | {check.asset_key for check in checks})
        return self._tagged("the job", job.name, job.tags)

    def _tagged(self, kind: str, name: str, tags: Any) -> set[str]:
        named = tags.get(GROUP_TAG)
        if named == EVERY_GROUP:
            return set(self._groups)
        if named in self._groups:
            return {str(named)}
        what = f"the tag {GROUP_TAG} names {named!r}" if named else "targets no asset, so it belongs to no location"
        remedy = f'Say in its tags which group it goes with: {{"{GROUP_TAG}": "{self._groups[0]}"}}.'
        self._refuse(f"tenants/{self.tenant.name}: {kind} {name}", what, remedy)
        return set()

    def _refuse(self, where: str, what: str, remedy: str) -> None:
        problem = Problem(where, what, remedy)
        if problem not in self.problems:
            self.problems.append(problem)

    # ---- One location's part of it. ----

    def _assets(self, definitions: Iterable[Any], group: str) -> Iterator[Any]:
        for entry in definitions:
            if not isinstance(entry, dg.AssetsDefinition):  # a spec or a source
                if self._groups_of([entry.key]) == {group}:
                    yield entry
                continue
            keys = {key for key in entry.keys if self._groups_of([key]) == {group}}
            checks = {key for key in entry.check_keys if self._groups_of([key.asset_key]) == {group}}
            if len(keys) == len(set(entry.keys)) and len(checks) == len(set(entry.check_keys)):
                yield entry
            elif not keys and not checks:
                continue
            elif not entry.is_executable:
                yield from (spec for spec in entry.specs if spec.key in keys)
            elif entry.can_subset:
                # Dagster's own cut of an op, as every run of some of its assets makes it.
                yield entry.subset_for(keys, checks)
            else:
                groups = ", ".join(sorted(self._groups_of(entry.keys | {key.asset_key for key in entry.check_keys})))
                what = f"makes assets or checks of several locations ({groups})"
                remedy = "Give it `can_subset=True`, or its assets one group."
                self._refuse(f"tenants/{self.tenant.name}: the op {entry.node_def.name}", what, remedy)

    def _named_from_elsewhere(self, assets: Iterable[Any], group: str) -> Iterator[dg.SourceAsset]:
        """What ops of this location know of assets of others: a value that one takes, so that Dagster can load it, and
        the other assets of an op that was cut. What is only depended on, Dagster notes by itself."""
        makers = [entry for entry in self.definitions.assets or () if isinstance(entry, dg.AssetsDefinition)]
        made = {key: entry for entry in makers for key in entry.keys}
        wanted: set[dg.AssetKey] = set()
        for entry in assets:
            if isinstance(entry, dg.AssetsDefinition) and entry.is_executable:
                for name, key in entry.keys_by_input_name.items():
                    if not entry.node_def.input_dict[name].dagster_type.is_nothing:
                        wanted.add(key)
                whole = [maker for maker in makers if maker.is_executable and maker.node_def is entry.node_def]
                wanted |= {key for maker in whole for key in maker.keys}
        for key in sorted(wanted):
            if key in made and self._groups_of([key]) != {group}:
                yield made[key].to_source_asset(key)

    def _jobs(self, group: str) -> Iterator[Any]:
        for job in self.definitions.jobs or ():
            groups = self._groups_of_job(job)
            if group in groups:
                several = len(groups) > 1 and _is_of_assets(job)
                yield self._part_of_job(job, group) if several else job

    def _part_of_job(self, job: Any, group: str) -> Any:
        keys, checks = self._selected(job.selection)
        return dg.define_asset_job(
            name=job.name,
            selection=_exactly(
                {key for key in keys if self._groups_of([key]) == {group}},
                {check for check in checks if self._groups_of([check.asset_key]) == {group}},
            ),
            config=job.config,
            description=job.description,
            tags=job.tags,
            run_tags=job.run_tags,
            metadata=job.metadata,
            partitions_def=job.partitions_def,
            executor_def=job.executor_def,
            hooks=job.hooks,
            op_retry_policy=job.op_retry_policy,
            owners=job.owners,
        )

    def _schedules(self, group: str) -> Iterator[Any]:
        for schedule in self.definitions.schedules or ():
            target = schedule.target.resolvable_to_job if isinstance(schedule, dg.ScheduleDefinition) else schedule.job
            groups = self._groups_of_job(target)
            self._require_one("the schedule", schedule.name, groups)
            if groups == {group}:
                yield schedule

    def _sensors(self, group: str) -> Iterator[dg.SensorDefinition]:
        for sensor in self.definitions.sensors or ():
            if group in self._groups_of_sensor(sensor):
                yield sensor

    def _groups_of_sensor(self, sensor: dg.SensorDefinition) -> set[str]:
        if targets := [target.resolvable_to_job for target in sensor.targets]:
            groups = {group for target in targets for group in self._groups_of_job(target)}
            self._require_one("the sensor", sensor.name, groups)
            return groups
        if isinstance(sensor, dg.AutomationConditionSensorDefinition) and sensor.asset_selection:
            return self._groups_of(self._selected(sensor.asset_selection)[0])
        if sensor.asset_selection:
            groups = self._groups_of(self._selected(sensor.asset_selection)[0])
            self._require_one("the sensor", sensor.name, groups)
            return groups
        if isinstance(sensor, dg.RunStatusSensorDefinition) and GROUP_TAG not in sensor.tags:
            return set(self._groups)  # each sees the runs of its own location
        return self._tagged("the sensor", sensor.name, sensor.tags)

    def _require_one(self, kind: str, name: str, groups: Collection[str]) -> None:
        if len(groups) > 1:
            what = f"targets assets of several locations ({', '.join(sorted(groups))}), and a run belongs to one"
            remedy = "Let what follows do so by `automation:`, or have one location serve these groups."
            self._refuse(f"tenants/{self.tenant.name}: {kind} {name}", what, remedy)


def _is_of_assets(job: Any) -> bool:
    """Whether a job is one of `define_asset_job`, whose class has no public name."""
    return isinstance(getattr(job, "selection", None), dg.AssetSelection)


def _exactly(keys: Collection[dg.AssetKey], checks: Collection[dg.AssetCheckKey]) -> dg.AssetSelection:
    parts: Sequence[dg.AssetSelection] = [
        *([dg.AssetSelection.assets(*sorted(keys)).without_checks()] if keys else []),
        *([dg.AssetSelection.checks(*sorted(checks))] if checks else []),
    ]
    return parts[0] if len(parts) == 1 else parts[0] | parts[1]
