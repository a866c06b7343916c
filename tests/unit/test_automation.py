"""What asks for a run of a model, by the condition that `automation` names: Dagster's own evaluation, tick by tick.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.dbt.automation import Automation, automation_condition, automation_sensor

LOADED, MODEL, MART = dg.AssetKey("loaded"), dg.AssetKey("model"), dg.AssetKey("mart")


class Ticks:
    """A source, a model on it and a mart on that; each tick says what is asked for."""

    def __init__(self, instance: dg.DagsterInstance, automation: Automation) -> None:
        condition = automation_condition(automation)
        self.instance = instance
        self.cursor: Any = None
        specs = [
            dg.AssetSpec(MODEL, deps=[LOADED], automation_condition=condition),
            dg.AssetSpec(MART, deps=[MODEL], automation_condition=condition),
        ]

        @dg.multi_asset(specs=[dg.AssetSpec(LOADED)])
        def load() -> dg.MaterializeResult:
            return dg.MaterializeResult(LOADED)

        @dg.multi_asset(specs=specs, can_subset=True)
        def dbt(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
            for key in (MODEL, MART):
                if key in context.selected_asset_keys:
                    yield dg.MaterializeResult(key)

        self.definitions = dg.Definitions(assets=[load, dbt])
        assert self.asked() == set()

    def asked(self) -> set[str]:
        """What the next tick asks for."""
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return {key.to_user_string() for key in (LOADED, MODEL, MART) if result.get_num_requested(key)}

    def run(self, *keys: dg.AssetKey) -> None:
        """A run of Dagster's that builds these."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=self.instance, asset_selection=list(keys))

    def report(self, *keys: dg.AssetKey) -> None:
        """Somebody else built these, as a polling sensor tells it."""
        for key in keys:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(key))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.mark.parametrize("automation", ["any_deps_updated", "eager"])
def test_what_is_loaded_is_followed_once_by_all_that_is_built_from_it(
    instance: dg.DagsterInstance, automation: Automation
) -> None:
    ticks = Ticks(instance, automation)

    ticks.run(LOADED)

    assert ticks.asked() == {"model", "mart"}
    ticks.run(MODEL, MART)
    assert [ticks.asked() for _ in range(3)] == [set()] * 3


def test_what_was_built_together_in_one_run_is_not_built_again(instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance, "any_deps_updated")

    ticks.run(LOADED, MODEL, MART)

    assert ticks.asked() == set()


def test_what_dbt_cloud_built_by_itself_and_is_reported_all_at_once_is_not_built_again(
    instance: dg.DagsterInstance,
) -> None:
    ticks = Ticks(instance, "any_deps_updated")

    ticks.report(MODEL, MART)

    assert [ticks.asked() for _ in range(2)] == [set()] * 2


def test_a_model_that_somebody_else_built_alone_is_followed(instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance, "any_deps_updated")

    ticks.report(MODEL)

    assert ticks.asked() == {"mart"}


def test_what_was_loaded_after_the_build_but_seen_at_the_same_time_is_followed(instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance, "any_deps_updated")
    ticks.run(LOADED)
    assert ticks.asked() == {"model", "mart"}

    ticks.run(MODEL, MART)
    ticks.run(LOADED)

    assert ticks.asked() == {"model", "mart"}


def test_what_was_loaded_during_a_build_is_followed(instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance, "any_deps_updated")
    ticks.run(LOADED)
    assert ticks.asked() == {"model", "mart"}

    ticks.run(LOADED)  # the run that the first one asked for has not ended

    assert ticks.asked() == {"model", "mart"}
    ticks.run(MODEL, MART)
    assert ticks.asked() == set()


def test_eager_waits_for_what_was_never_built(instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance, "eager")

    ticks.run(MODEL)

    assert ticks.asked() == {"mart"}, "a model whose upstream is missing is not asked for, the mart on it is"


def test_the_sensor_runs_by_declaration() -> None:
    sensor = automation_sensor("shop", 7)

    assert (sensor.name, sensor.default_status, sensor.minimum_interval_seconds) == (
        "shop__automation",
        dg.DefaultSensorStatus.RUNNING,
        7,
    )
