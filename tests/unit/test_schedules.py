"""A tenant's schedule runs where its `tenant.yaml` says, selects what it says, and is taken up again as it says."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.dbt.assets import dbt_assets
from dagster_apollo.dbt.sources import freshness_checks
from dagster_apollo.dbt.translation import TenantTranslator
from dagster_apollo.errors import TenantError
from dagster_apollo.schedules import build_schedules, retry_tags
from tests.support.recording import shop_slim
from tests.support.shop_tenant import open_shop


def schedules_of(
    root: Path, config: str = "", target: str = "prod", *, freshness: bool = True
) -> tuple[dict[str, dg.ScheduleDefinition], list[str]]:
    """The schedules by name, and the names of the jobs that have none."""
    workspace = open_shop(root, config=f"warehouse: duckdb\n{config}")
    kept = shop_slim()
    translator = TenantTranslator("shop", kept)
    build = dbt_assets(workspace, kept, translator)
    checks = freshness_checks(workspace, kept, translator) if freshness else None
    assert build is not None
    schedules, jobs = build_schedules(workspace.tenant, target, kept, build, checks)
    return {schedule.name: schedule for schedule in schedules}, [job.name for job in jobs]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("config", "running"),
    [
        ("", {"prod"}),
        ("schedule: {running_in: []}\n", set()),
        ("schedule: {running_in: [dev]}\n", {"dev"}),
        ("schedule: {running_in: [local, dev, prod]}\n", {"local", "dev", "prod"}),
    ],
)
def test_a_schedule_runs_in_the_targets_that_are_named(tmp_path: Path, config: str, running: set[str]) -> None:
    found = set()
    for target in ("local", "dev", "prod"):
        schedules, _ = schedules_of(tmp_path, config, target)
        statuses = {schedule.default_status for schedule in schedules.values()}
        assert len(statuses) == 1, "the build and the freshness checks go together"
        found |= {target} if statuses == {dg.DefaultScheduleStatus.RUNNING} else set()

    assert found == running


def test_builds_and_freshness_have_a_schedule_each(tmp_path: Path) -> None:
    schedules, jobs = schedules_of(tmp_path, "schedule: {cron: '5 4 * * 1', timezone: Europe/Stockholm}\n")

    assert set(schedules) == {"shop__build_schedule", "shop__freshness_schedule"}
    for schedule in schedules.values():
        assert (schedule.cron_schedule, schedule.execution_timezone) == ("5 4 * * 1", "Europe/Stockholm")
    assert {schedule.job_name for schedule in schedules.values()} == {"shop__build", "shop__freshness"}
    assert jobs == ["shop__freshness"]


def test_without_sources_that_say_how_fresh_they_are_there_is_the_build_alone(tmp_path: Path) -> None:
    schedules, jobs = schedules_of(tmp_path, freshness=False)

    assert (set(schedules), jobs) == ({"shop__build_schedule"}, [])


def test_without_a_schedule_the_jobs_are_there_to_be_launched(tmp_path: Path) -> None:
    schedules, jobs = schedules_of(tmp_path, "schedule: null\n")

    assert schedules == {}
    assert sorted(jobs) == ["shop__build", "shop__freshness"]


def test_a_selection_is_what_the_job_builds(tmp_path: Path) -> None:
    workspace = open_shop(
        tmp_path, config="warehouse: duckdb\nschedule: {select: 'fqn:shop.marts', exclude: broken+}\n"
    )
    kept = shop_slim()
    build = dbt_assets(workspace, kept, TenantTranslator("shop", kept))
    assert build is not None
    schedules, jobs = build_schedules(workspace.tenant, "prod", kept, build, None)
    definitions = dg.Definitions(assets=[build], schedules=schedules, jobs=jobs)  # type: ignore[arg-type]

    job = definitions.resolve_job_def("shop__build")

    assert {key.path[-1] for key in job.asset_layer.executable_asset_keys} == {"customer_totals", "order_log"}


@pytest.mark.parametrize("selection", ["nosuchmethod:x", "selector:nobody"])
def test_a_selection_that_dbt_cannot_read_is_told_where_it_stands(tmp_path: Path, selection: str) -> None:
    with pytest.raises(TenantError) as refused:
        schedules_of(tmp_path, f"schedule: {{select: '{selection}'}}\n")

    assert [problem.where for problem in refused.value.problems] == ["tenants/shop/tenant.yaml: schedule.select"]


@pytest.mark.parametrize("cron", ["every day", "61 * * * *", "* * * *", ""])
def test_a_cron_line_that_cannot_be_read_is_told_where_it_stands(tmp_path: Path, cron: str) -> None:
    with pytest.raises(TenantError) as refused:
        schedules_of(tmp_path, f"schedule: {{cron: '{cron}'}}\n")

    [problem] = refused.value.problems
    assert problem.where == "tenants/shop/tenant.yaml: schedule"
    assert problem.remedy == "Give five cron fields."
    assert "\n" not in problem.what


@pytest.mark.parametrize(
    ("config", "tags"),
    [
        ("", {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}),
        (
            "retries: {count: 5, after_failure: true}\n",
            {"dagster/max_retries": "5", "dagster/retry_on_asset_or_op_failure": "true"},
        ),
    ],
)
def test_a_run_is_taken_up_again_where_it_stopped(tmp_path: Path, config: str, tags: dict[str, str]) -> None:
    workspace = open_shop(tmp_path, config=f"warehouse: duckdb\n{config}")
    wanted = {**tags, "dagster/retry_strategy": "FROM_ASSET_FAILURE"}

    assert retry_tags(workspace.tenant) == wanted
    schedules, _ = schedules_of(tmp_path, config)
    for schedule in schedules.values():
        job = schedule.job
        assert wanted.items() <= {**(job.tags or {})}.items()


def test_no_retries_are_said_to_be_none(tmp_path: Path) -> None:
    assert retry_tags(open_shop(tmp_path, config="retries: {count: 0}\n").tenant) == {"dagster/max_retries": "0"}
