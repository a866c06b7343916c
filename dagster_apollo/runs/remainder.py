"""What of a run is not done: read from what Dagster stored of it, so that the next attempt does that and no more.

A model whose success is stored is done, whatever became of its tests. A test is done when it passed, or only warned;
it is asked again when it failed, when it was not reached, and when its model is built again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class Remainder:
    """What another attempt has to do.

    Attributes:
        assets: to be built.
        checks: to be carried out.
        ended: whether every step said that it had ended well, so that there is nothing that left no record.
        built: whether less is left than the run was to do.
    """

    assets: frozenset[dg.AssetKey]
    checks: frozenset[dg.AssetCheckKey]
    ended: bool
    built: bool

    @property
    def is_empty(self) -> bool:
        return not self.assets and not self.checks

    def within(self, graph: Any) -> Remainder:
        """What of it there still is, in a version of the project that may be newer than the run.

        Args:
            graph: the project's asset graph.
        """
        assets = frozenset(key for key in self.assets if graph.has(key))
        return replace(self, assets=assets, checks=frozenset(key for key in self.checks if graph.has(key)))


def remainder(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Remainder | None:
    """What of a run is not done; None for one that has no assets, whose steps Dagster itself keeps account of."""
    if run.execution_plan_snapshot_id is None:
        return None
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    steps = [step for step in plan.steps if step.key in set(plan.step_keys_to_execute)]
    planned = {key for step in steps for key in step.entity_keys}
    if not planned:
        return None
    built = set(instance.get_asset_keys_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION))
    answered = _answered(instance, run.run_id)
    passed = {key for key, is_done in answered.items() if is_done}
    ended = _ended(instance, run.run_id)
    left: set[dg.AssetKey | dg.AssetCheckKey] = set()
    for step in steps:
        assets = {key for key in step.entity_keys if isinstance(key, dg.AssetKey)} - built
        checks = {
            key
            for key in step.entity_keys
            if isinstance(key, dg.AssetCheckKey) and (key not in passed or key.asset_key in assets)
        }
        if assets or checks:
            # What cannot be done in part is done whole.
            left |= assets | checks | set(step.required_entity_keys)
    if not left:
        # All is recorded, and yet a step did not come to its end: its tests are what can be repeated.
        left = {
            key
            for step in steps
            if step.key not in ended
            for key in step.entity_keys
            if isinstance(key, dg.AssetCheckKey)
        }
    return Remainder(
        frozenset(key for key in left if isinstance(key, dg.AssetKey)),
        frozenset(key for key in left if isinstance(key, dg.AssetCheckKey)),
        all(step.key in ended for step in steps),
        left < planned,
    )


def _answered(instance: dg.DagsterInstance, run_id: str) -> dict[dg.AssetCheckKey, bool]:
    """The checks that were carried out, and whether that is done with them."""
    found: dict[dg.AssetCheckKey, bool] = {}
    for entry in instance.all_logs(run_id, of_type={dg.DagsterEventType.ASSET_CHECK_EVALUATION}):
        data = entry.dagster_event.event_specific_data if entry.dagster_event else None
        if isinstance(data, dg.AssetCheckEvaluation):
            found[data.asset_check_key] = data.passed or data.severity == dg.AssetCheckSeverity.WARN
    return found


def _ended(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    logs = instance.all_logs(run_id, of_type={dg.DagsterEventType.STEP_SUCCESS})
    return {entry.step_key for entry in logs if entry.step_key}
