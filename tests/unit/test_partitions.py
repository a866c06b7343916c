"""Daily partitions as `tenant.yaml` declares them: who has them, what reaches dbt, which day a schedule asks for."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.dbt.assets import dbt_assets
from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt.partitions import backfill_policy, partitioned_nodes
from dagster_apollo.dbt.translation import TenantTranslator
from dagster_apollo.errors import TenantError
from dagster_apollo.execution import arguments
from dagster_apollo.execution.arguments import Build, Days
from dagster_apollo.schedules import build_schedules
from dagster_apollo.tenant import Partitions, Tenant, load_tenant
from tests.support.manifests import manifest, node
from tests.support.shop_tenant import open_shop, places_below, write_tenant

KEPT = slim(
    manifest(
        node("seed", "raw", tags=["daily"]),
        node("model", "plain", ["seed.shop.raw"]),
        node("model", "days", ["model.shop.plain"], tags=["daily"]),
    )
)


def tenant_with(root: Path, config: str) -> Tenant:
    places = places_below(root)
    write_tenant(places, f"warehouse: duckdb\n{config}")
    return load_tenant(places.tenants_dir, "shop")


def problems_of(root: Path, config: str) -> list[str]:
    with pytest.raises(TenantError) as refused:
        tenant_with(root, config)
    return [f"{problem.where}: {problem.what}" for problem in refused.value.problems]


# ---- The fields. ----


def test_a_day_may_be_written_as_yaml_reads_it(tmp_path: Path) -> None:
    for day in ("2026-05-01", "'2026-05-01'"):
        partitions = tenant_with(tmp_path, f"partitions: {{start: {day}}}\n").config.partitions
        assert partitions is not None
        assert partitions.start == "2026-05-01"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("start: '2026-02-30'", "'2026-02-30' is not a day"),
        ("start: 2026-5-1", "is not a day"),
        ("start: yesterday", "'yesterday' is not a day"),
        ("start: 2026-05-02, end: 2026-05-02", "end, 2026-05-02, is not after start, 2026-05-02"),
        ("start: 2026-05-02, timezone: Europe/Stokholm", "did you mean Europe/Stockholm?"),
        (
            "start: 2026-05-02, timezone: Europe/Stockholm, reaches_dbt_as: event_time",
            "event_time knows days in UTC alone",
        ),
        ("start: 2026-05-02, reaches_dbt_as: magic", "'vars' or 'event_time'"),
    ],
)
def test_a_field_that_cannot_be_is_told(tmp_path: Path, fields: str, told: str) -> None:
    [problem] = problems_of(tmp_path, f"partitions: {{{fields}}}\n")

    assert problem.startswith("tenants/shop/tenant.yaml: partitions")
    assert told in problem


# ---- Who has them. ----


def test_models_that_are_selected_have_partitions_and_seeds_never(tmp_path: Path) -> None:
    everything = partitioned_nodes(tenant_with(tmp_path, "partitions: {start: 2026-05-01}\n"), KEPT)
    daily = partitioned_nodes(tenant_with(tmp_path, "partitions: {start: 2026-05-01, select: 'tag:daily'}\n"), KEPT)

    assert set(everything) == {"model.shop.plain", "model.shop.days"}
    assert set(daily) == {"model.shop.days"}
    assert partitioned_nodes(tenant_with(tmp_path, ""), KEPT) == {}


@pytest.mark.parametrize("select", ["tag:dayly", "raw", "state:nonsense:x", "method_that:is_none"])
def test_a_selection_of_nothing_is_told(tmp_path: Path, select: str) -> None:
    with pytest.raises(TenantError) as refused:
        partitioned_nodes(tenant_with(tmp_path, f"partitions: {{start: 2026-05-01, select: '{select}'}}\n"), KEPT)

    [problem] = refused.value.problems
    assert problem.where == "tenants/shop/tenant.yaml: partitions.select"
    assert select in problem.what


def test_partitions_end_where_they_are_said_to(tmp_path: Path) -> None:
    days = partitioned_nodes(tenant_with(tmp_path, "partitions: {start: 2026-05-01, end: 2026-05-04}\n"), KEPT)

    keys = days["model.shop.days"].get_partition_keys()
    assert list(keys) == ["2026-05-01", "2026-05-02", "2026-05-03"]


def test_a_backfill_is_one_run_or_one_a_day(tmp_path: Path) -> None:
    def policy(way: str) -> dg.BackfillPolicy:
        return backfill_policy(Partitions.model_validate({"start": "2026-05-01", "backfill": way}))

    assert policy("one_run").max_partitions_per_run is None
    assert policy("run_each").max_partitions_per_run == 1
    build = dbt_assets(
        open_shop(tmp_path, config="warehouse: duckdb\npartitions: {start: 2026-05-01, backfill: run_each}\n"),
        KEPT,
        TenantTranslator("shop", KEPT),
    )
    assert build is not None
    assert build.backfill_policy == dg.BackfillPolicy.multi_run(1)


# ---- How they reach dbt. ----


def test_days_are_vars_that_a_person_cannot_contradict() -> None:
    days = Days(date(2026, 5, 3), date(2026, 5, 5))

    words = arguments.build(Build(["fqn:*"], variables={"site": "north", "partition_date": "1999-01-01"}, days=days))

    assert json.loads(words[words.index("--vars") + 1]) == {
        "site": "north",
        "partition_date": "2026-05-03",
        "partition_start": "2026-05-03",
        "partition_end": "2026-05-05",
    }
    assert "--event-time-start" not in words


def test_days_are_event_time_and_then_no_vars() -> None:
    days = Days(date(2026, 5, 3), date(2026, 5, 5), as_event_time=True)

    assert arguments.build(Build(["fqn:*"], days=days)) == [
        *["build", "--select", "fqn:*", "--indirect-selection", "empty"],
        *["--event-time-start", "2026-05-03", "--event-time-end", "2026-05-05"],
    ]
    assert arguments.seed(Build(["fqn:raw"], days=days)) == ["seed", "--select", "fqn:raw"]


# ---- Schedules. ----


def asked_for(root: Path, config: str, at: datetime) -> list[str | None] | str | None:
    """The partition keys of the runs that the build's schedule asks for at a time, or why it asks for none."""
    workspace = open_shop(root, config=f"warehouse: duckdb\n{config}")
    translator = TenantTranslator("shop", KEPT, partitions=partitioned_nodes(workspace.tenant, KEPT))
    build = dbt_assets(workspace, KEPT, translator)
    assert build is not None
    [schedule], _ = build_schedules(workspace.tenant, "prod", KEPT, build, None)
    definitions = dg.Definitions(assets=[build], schedules=[schedule])
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=at, repository_def=definitions.get_repository_def()
        )
        ticked = schedule.evaluate_tick(context)
    if not ticked.run_requests:
        return ticked.skip_message
    return [request.tags.get("dagster/partition") for request in ticked.run_requests]


def test_a_schedule_asks_for_the_last_day_that_is_over(tmp_path: Path) -> None:
    config = "partitions: {start: 2026-05-01, end: 2026-05-20}\n"

    assert asked_for(tmp_path, config, datetime(2026, 5, 1, 6, tzinfo=UTC)) == (
        "the first day, 2026-05-01, is not over"
    )
    assert asked_for(tmp_path, config, datetime(2026, 5, 9, 6, tzinfo=UTC)) == ["2026-05-08"]
    assert asked_for(tmp_path, config, datetime(2027, 1, 1, 6, tzinfo=UTC)) == ["2026-05-19"]


def test_a_schedule_of_what_is_not_partitioned_asks_for_no_day(tmp_path: Path) -> None:
    config = "partitions: {start: 2026-05-01, select: 'tag:daily'}\nschedule: {select: plain}\n"

    assert asked_for(tmp_path, config, datetime(2026, 5, 9, 6, tzinfo=UTC)) == [None]
