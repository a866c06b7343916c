"""A tenant's definitions cut into what each of its code locations serves.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.errors import TenantError
from dagster_apollo.shares import GROUP_TAG, share_of, share_problems
from dagster_apollo.tenant import Tenant, TenantConfig


def tenant(*groups: str) -> Tenant:
    folder = Path("tenants/shop")
    return Tenant("shop", folder, folder, {"name": "shop"}, TenantConfig(code_locations=list(groups)))


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["shop", name])


@dg.asset(key=key("raw"), group_name="ingestion")
def raw() -> int:
    return 3


@dg.multi_asset(
    name="shop__dbt_build",
    specs=[
        dg.AssetSpec(key("stg"), group_name="staging", deps=[key("raw"), key("source")]),
        dg.AssetSpec(key("mart"), group_name="marts", deps=[key("stg")]),
    ],
    check_specs=[
        dg.AssetCheckSpec("unique", asset=key("stg")),
        dg.AssetCheckSpec("related", asset=key("mart"), additional_deps=[key("stg")]),
    ],
    can_subset=True,
)
def dbt_build(context: dg.AssetExecutionContext) -> Any:
    for made in context.selected_asset_keys:
        yield dg.MaterializeResult(made)
    for checked in context.selected_asset_check_keys:
        yield dg.AssetCheckResult(passed=True, asset_key=checked.asset_key, check_name=checked.name)


@dg.asset(key=key("count"), group_name="downstream", ins={"raw": dg.AssetIn(key("raw"))}, deps=[key("mart")])
def count(raw: int) -> int:
    return raw + 1


SOURCE = dg.AssetSpec(key("source"), group_name="sources")
GROUPS = ("ingestion", "staging", "marts", "downstream")


def whole(**more: Any) -> dg.Definitions:
    return dg.Definitions(assets=[raw, dbt_build, count, SOURCE], **more)


def keys(definitions: dg.Definitions) -> set[str]:
    graph = definitions.resolve_asset_graph()
    return {key.path[-1] for key in graph.materializable_asset_keys}


def names(entries: Iterable[Any] | None) -> list[str]:
    return [entry.name for entry in entries or ()]


def told(definitions: dg.Definitions, *groups: str) -> str:
    with pytest.raises(TenantError) as error:
        share_of(definitions, tenant(*groups), groups[0])
    return "\n".join(str(problem) for problem in error.value.problems)


def test_without_a_group_all_is_served() -> None:
    definitions = whole()

    assert share_of(definitions, tenant(), None) is definitions


def test_each_location_serves_its_group_and_no_other() -> None:
    parts = {group: keys(share_of(whole(), tenant(*GROUPS), group)) for group in GROUPS}

    assert parts == {"ingestion": {"raw"}, "staging": {"stg"}, "marts": {"mart"}, "downstream": {"count"}}


def test_the_edges_between_locations_stay() -> None:
    marts = share_of(whole(), tenant(*GROUPS), "marts").resolve_asset_graph()
    staging = share_of(whole(), tenant(*GROUPS), "staging").resolve_asset_graph()

    assert marts.get(key("mart")).parent_keys == {key("stg")}
    assert key("stg") not in marts.executable_asset_keys
    assert staging.get(key("stg")).parent_keys == {key("raw"), key("source")}


def test_checks_stay_with_the_asset_that_they_are_of() -> None:
    found = {
        group: {
            check.name for check in share_of(whole(), tenant(*GROUPS), group).resolve_asset_graph().asset_check_keys
        }
        for group in GROUPS
    }

    assert found == {"ingestion": set(), "staging": {"unique"}, "marts": {"related"}, "downstream": set()}


def test_a_source_is_shown_where_it_is_read() -> None:
    for group, shown in {"ingestion": False, "staging": True, "marts": False}.items():
        share = share_of(whole(), tenant(*GROUPS), group)
        specs = {spec.key for spec in share.resolve_all_asset_specs() if spec.group_name == "sources"}
        assert specs == ({SOURCE.key} if shown else set()), group


def test_a_part_of_an_op_is_built_by_the_location_that_serves_it(tmp_path: Path) -> None:
    shares = [share_of(whole(), tenant(*GROUPS), group) for group in GROUPS]
    home = dg.DagsterInstance.local_temp(str(tmp_path))
    built = []
    for share in shares:
        result = share.resolve_implicit_global_asset_job_def().execute_in_process(instance=home)
        built += [event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key]

    assert sorted(built) == ["count", "mart", "raw", "stg"]


def test_a_group_that_no_location_names_is_an_error_that_names_it() -> None:
    said = told(whole(), "ingestion", "staging", "downstream")

    assert "no location serves the group marts (shop/mart)" in said
    assert "code_locations: [ingestion, staging, downstream, marts]" in said


def test_a_location_of_a_group_that_is_not_there_is_an_error_with_the_near_one() -> None:
    assert "there is no group stagging" in told(whole(), "ingestion", "stagging", "staging", "marts", "downstream")
    assert "Did you mean staging?" in told(whole(), "ingestion", "stagging", "staging", "marts", "downstream")


def test_an_op_that_cannot_be_cut_is_an_error_that_names_it() -> None:
    @dg.multi_asset(specs=[dg.AssetSpec(key("a"), group_name="one"), dg.AssetSpec(key("b"), group_name="two")])
    def both() -> Iterator[dg.MaterializeResult]:
        yield dg.MaterializeResult(key("a"))

    said = told(dg.Definitions(assets=[both]), "one", "two")

    assert "the op both: makes assets or checks of several locations (one, two)" in said


def test_a_job_is_in_each_location_with_the_part_that_is_there() -> None:
    job = dg.define_asset_job("everything", selection=dg.AssetSelection.all(), tags={"why": "nightly"})

    for group, expected in {"ingestion": {"raw"}, "marts": {"mart"}}.items():
        found = share_of(whole(jobs=[job]), tenant(*GROUPS), group).resolve_job_def("everything")
        assert {made.path[-1] for made in found.asset_layer.executable_asset_keys} == expected
        assert found.tags["why"] == "nightly"


def test_a_job_of_checks_is_where_the_checks_are() -> None:
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks_for_assets(key("mart")))

    parts = {group: share_of(whole(jobs=[job]), tenant(*GROUPS), group).jobs for group in GROUPS}

    assert {group for group, jobs in parts.items() if jobs} == {"marts"}


def test_a_schedule_goes_with_its_job() -> None:
    job = dg.define_asset_job("load", selection=dg.AssetSelection.assets(key("raw")))
    schedule = dg.ScheduleDefinition(name="load_schedule", job=job, cron_schedule="*/5 * * * *")
    by_name = dg.ScheduleDefinition(name="by_name", job_name="load", cron_schedule="0 * * * *")
    definitions = whole(jobs=[job], schedules=[schedule, by_name])

    found = {group: names(share_of(definitions, tenant(*GROUPS), group).schedules) for group in GROUPS}

    assert found == {"ingestion": ["load_schedule", "by_name"], "staging": [], "marts": [], "downstream": []}


def test_a_schedule_over_two_locations_is_an_error_since_a_run_belongs_to_one() -> None:
    schedule = dg.ScheduleDefinition(
        name="nightly", target=dg.AssetSelection.assets(key("stg"), key("mart")), cron_schedule="0 0 * * *"
    )

    said = told(whole(schedules=[schedule]), *GROUPS)

    assert "the schedule nightly: targets assets of several locations (marts, staging)" in said


def test_a_sensor_goes_with_what_it_targets() -> None:
    @dg.sensor(target=dg.AssetSelection.assets(key("count")))
    def on_count() -> None: ...

    found = {g: names(share_of(whole(sensors=[on_count]), tenant(*GROUPS), g).sensors) for g in GROUPS}

    assert found == {"ingestion": [], "staging": [], "marts": [], "downstream": ["on_count"]}


def test_failures_are_watched_in_every_location() -> None:
    @dg.run_failure_sensor
    def on_failure() -> None: ...

    for group in GROUPS:
        assert names(share_of(whole(sensors=[on_failure]), tenant(*GROUPS), group).sensors) == ["on_failure"]


def test_what_targets_nothing_says_by_a_tag_where_it_belongs() -> None:
    @dg.sensor(tags={GROUP_TAG: "marts"})
    def polling() -> None: ...

    @dg.sensor(tags={GROUP_TAG: "*"})
    def everywhere() -> None: ...

    @dg.op
    def nothing() -> None: ...

    @dg.job(tags={GROUP_TAG: "staging"})
    def trigger() -> None:
        nothing()

    definitions = whole(sensors=[polling, everywhere], jobs=[trigger])
    found = {}
    for group in GROUPS:
        share = share_of(definitions, tenant(*GROUPS), group)
        found[group] = {*names(share.sensors), *names(share.jobs)}

    assert found == {
        "ingestion": {"everywhere"},
        "staging": {"everywhere", "trigger"},
        "marts": {"everywhere", "polling"},
        "downstream": {"everywhere"},
    }


def test_without_the_tag_it_is_an_error_that_shows_the_tag() -> None:
    @dg.sensor()
    def polling() -> None: ...

    said = told(whole(sensors=[polling]), *GROUPS)

    assert "the sensor polling: targets no asset" in said
    assert '{"apollo/group": "ingestion"}' in said


def test_conditions_are_watched_by_each_location_for_its_own() -> None:
    watch = dg.AutomationConditionSensorDefinition("shop__automation", target=dg.AssetSelection.all())
    definitions = whole(sensors=[watch])

    assert share_problems(definitions, tenant(*GROUPS)) == []
    assert all(names(share_of(definitions, tenant(*GROUPS), group).sensors) for group in GROUPS)


def test_all_problems_are_told_once_and_together() -> None:
    @dg.sensor()
    def polling() -> None: ...

    problems = share_problems(whole(sensors=[polling]), tenant("ingestion", "staging", "downstream"))

    assert len(problems) == 2
