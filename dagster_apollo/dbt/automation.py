"""How assets follow what they are built from: the conditions behind `automation` of `tenant.yaml`, and their sensor.

A tenant's models are given the condition by `translation.py`, whatever warehouse they are built in; its own Python may
ask for the same one. When a schedule builds is `schedules.py`.
"""

from __future__ import annotations

from typing import Literal

import dagster as dg

Automation = Literal["any_deps_updated", "eager"]


def automation_condition(automation: Automation) -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """The condition of an asset that follows its upstream.

    `any_deps_updated` is Dagster's, but for what was built together with its upstream by somebody else: dbt Cloud's own
    runs are reported a moment later, all at once, and each would be built a second time. (One event after the other:
    an evaluation that falls between them still asks for the rest.) What comes in during a build, or right after it, is
    followed: another run is asked for, and waits its turn. `eager` is Dagster's: not while anything upstream is missing
    or being built, nor while the asset is.

    https://docs.dagster.io/guides/automate/declarative-automation
    """
    if automation == "eager":
        return dg.AutomationCondition.eager()
    condition = dg.AutomationCondition
    updated = condition.newly_updated()
    # Of `since` only these bare operands hold what happened within one evaluation to its order.
    upstream_is_newer = condition.any_deps_match(updated).since(updated)
    by_another_run = condition.any_deps_match(updated & ~condition.executed_with_root_target())
    together_with_upstream = condition.any_deps_match(condition.will_be_requested())
    return ((upstream_is_newer & by_another_run) | together_with_upstream).with_label("any_deps_updated")


def automation_sensor(tenant: str, interval_seconds: int) -> dg.AutomationConditionSensorDefinition:
    """What evaluates a tenant's conditions; running by declaration, since Dagster's own is stopped until it is clicked.

    Args:
        tenant: the tenant's id.
        interval_seconds: the shortest time between two evaluations; the daemon looks every five seconds at most.
    """
    return dg.AutomationConditionSensorDefinition(
        f"{tenant}__automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_seconds,
        description="Evaluates the automation conditions of this tenant's assets.",
        tags={"apollo/group": "*"},  # in each location, for the assets that are served there
    )
