"""The stand-in for dbt Cloud answers as the published interface says, to dagster-dbt's own client, and runs dbt."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster_dbt.cloud_v2 import DbtCloudCredentials, DbtCloudWorkspace

from tests.support.cloud_shop import write_project
from tests.support.dbt_cloud import (
    ACCOUNT_ID,
    ENVIRONMENT_ID,
    PROJECT_ID,
    DbtCloud,
    running_dbt_cloud,
)

SUCCESS, ERROR, CANCELLED = 10, 20, 30


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbtCloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with running_dbt_cloud(write_project(folder / "project"), folder / "state") as running:
        yield running


@pytest.fixture(autouse=True)
def well(cloud: DbtCloud) -> Iterator[None]:
    yield
    cloud.be()


def test_dagsters_own_workspace_reads_it(cloud: DbtCloud) -> None:
    workspace = DbtCloudWorkspace(
        credentials=DbtCloudCredentials(ACCOUNT_ID, cloud.token, cloud.url),
        project_id=PROJECT_ID,
        environment_id=ENVIRONMENT_ID,
    )

    known = workspace.fetch_workspace_data()

    assert {job["name"] for job in known.jobs} == {"Daily build", "DAGSTER_ADHOC_JOB__8__9"}
    assert {"model.shop.order_count", "seed.shop.raw_orders"} <= set(known.manifest["nodes"])
    assert known.manifest["metadata"]["env"]["DBT_CLOUD_RUN_ID"]


def test_a_triggered_job_really_builds_the_project(cloud: DbtCloud) -> None:
    client = cloud.client()
    before = datetime.datetime.now(datetime.UTC)
    triggered = client.trigger_job_run(cloud.jobs()["Daily build"])
    seen = [triggered["status"]]
    while seen[-1] < SUCCESS:
        if (status := client.get_run_details(triggered["id"])["status"]) != seen[-1]:
            seen.append(status)
        time.sleep(0.02)

    run = client.get_run_details(triggered["id"], include_related=["run_steps"])
    results = client.get_run_results_json(triggered["id"])

    assert (seen[0], seen[-1]) == (1, SUCCESS)
    assert seen == sorted(seen)
    assert [step["name"] for step in run["run_steps"]] == [
        "Clone git repository",
        "Create profile from connection DuckDB",
        "Invoke dbt with `dbt build`",
    ]
    times = [datetime.datetime.fromisoformat(run[name]) for name in ("created_at", "started_at", "finished_at")]
    assert before <= times[0] <= times[1] <= times[2] <= datetime.datetime.now(datetime.UTC)
    assert results["metadata"]["env"]["DBT_CLOUD_RUN_ID"] == str(triggered["id"])
    assert {result["status"] for result in results["results"]} == {"success", "pass"}
    assert "Completed successfully" in client.get_run_logs(triggered["id"])
    with duckdb.connect(str(cloud.database), read_only=True) as database:
        assert database.execute("select n from order_count").fetchall() == [(2,)]


def test_steps_override_takes_the_place_of_the_jobs_commands(cloud: DbtCloud) -> None:
    run = cloud.run(steps=["dbt run --select lonely", "dbt ls --select 'tag:none'"])

    results = cloud.ask("GET", f"runs/{run['id']}/artifacts/run_results.json", params={"step": 3}).json()

    assert [step["name"] for step in run["run_steps"][2:]] == [
        "Invoke dbt with `dbt run --select lonely`",
        "Invoke dbt with `dbt ls --select 'tag:none'`",
    ]
    assert [result["unique_id"] for result in results["results"]] == ["model.shop.lonely"]


def test_a_command_that_fails_ends_the_run_with_its_text(cloud: DbtCloud) -> None:
    run = cloud.run(steps=["dbt run --select nonsense:x", "dbt build"])

    assert (run["status"], run["status_humanized"], run["is_error"]) == (ERROR, "Error", True)
    assert len(run["run_steps"]) == 3
    assert "not a valid method name" in run["run_steps"][-1]["logs"]


def test_a_run_is_cancelled_in_the_queue_and_under_way(cloud: DbtCloud) -> None:
    client, job = cloud.client(), cloud.jobs()["Daily build"]
    cloud.be(step_seconds=60)
    under_way, queued = client.trigger_job_run(job), client.trigger_job_run(job)
    while client.get_run_details(under_way["id"])["status"] != 3:
        time.sleep(0.05)

    active = client.get_active_job_ids(PROJECT_ID, ENVIRONMENT_ID, [job])
    client.cancel_run(queued["id"])
    client.cancel_run(under_way["id"])

    assert active == {job}
    assert [cloud.ended(run["id"])["status"] for run in (under_way, queued)] == [CANCELLED, CANCELLED]


def test_jobs_are_made_and_destroyed(cloud: DbtCloud) -> None:
    client = cloud.client()

    made = client.create_job(project_id=PROJECT_ID, environment_id=ENVIRONMENT_ID, job_name="extra")
    told = client.get_job_details(made["id"])
    client.destroy_job(made["id"])

    assert (told["name"], told["job_type"], told["environment_id"]) == ("extra", "other", ENVIRONMENT_ID)
    assert client.destroy_job(made["id"]) is None
    assert "extra" not in cloud.jobs()


def test_lists_come_in_pages(cloud: DbtCloud) -> None:
    for _ in range(2):
        cloud.run(steps=["dbt --version"])
    first = cloud.ask("GET", "runs/?limit=1&order_by=-id").json()
    second = cloud.ask("GET", "runs/?limit=1&offset=1&order_by=-id").json()

    assert first["data"][0]["id"] > second["data"][0]["id"]
    assert first["extra"]["pagination"] == {"count": 1, "total_count": first["data"][0]["id"] - 500_000}


def test_runs_are_found_by_when_they_ended(cloud: DbtCloud) -> None:
    run = cloud.run(steps=["dbt --version"])
    ended = datetime.datetime.fromisoformat(run["finished_at"])
    second = datetime.timedelta(seconds=1)

    def found(first: datetime.datetime, last: datetime.datetime) -> set[int]:
        runs, total = cloud.client().get_runs_batch(PROJECT_ID, ENVIRONMENT_ID, first, last)
        assert total == len(runs)
        return {entry["id"] for entry in runs}

    assert run["id"] in found(ended, ended)
    assert run["id"] not in found(ended + second, ended + 2 * second)


@pytest.mark.parametrize(
    ("method", "path", "body", "token", "status", "message"),
    [
        ("GET", "jobs/", None, "wrong", 401, "Invalid token."),
        ("GET", "jobs/4711/", None, None, 404, "The requested resource was not found."),
        ("GET", "runs/4711/artifacts/", None, None, 404, "The requested resource was not found."),
        ("GET", "nothing/", None, None, 404, "The requested resource was not found."),
        ("POST", "jobs/1001/run/", {}, None, 400, "The request was invalid."),
        ("POST", "jobs/", {"name": "x"}, None, 400, "The request was invalid."),
        ("PUT", "jobs/", {}, None, 405, "Method not allowed."),
    ],
)
def test_errors_have_the_published_form(
    cloud: DbtCloud, method: str, path: str, body: Any, token: str | None, status: int, message: str
) -> None:
    answer = cloud.ask(method, path, json=body, headers={"Authorization": f"Token {token or cloud.token}"})

    assert answer.status_code == status
    assert answer.json()["status"]["code"] == status
    assert answer.json()["status"]["is_success"] is False
    assert answer.json()["status"]["user_message"].startswith(message)


def test_another_account_is_not_found_and_an_artifact_does_not_lead_out(cloud: DbtCloud) -> None:
    run = cloud.run(steps=["dbt parse"])
    elsewhere = cloud.ask("GET", f"{cloud.url}/api/v2/accounts/1/jobs/")
    outside = cloud.ask("GET", f"runs/{run['id']}/artifacts/..%2F..%2Frun.json")

    assert (elsewhere.status_code, outside.status_code) == (404, 404)


def test_version_3_tells_the_project_and_its_environment(cloud: DbtCloud) -> None:
    project = f"{cloud.url}/api/v3/accounts/{ACCOUNT_ID}/projects/{PROJECT_ID}"

    assert cloud.ask("GET", project).json()["data"]["id"] == PROJECT_ID
    assert cloud.ask("GET", f"{project}/environments/").json()["data"][0]["id"] == ENVIRONMENT_ID


def test_it_can_be_slow_and_broken(cloud: DbtCloud) -> None:
    cloud.be(status=503, only="/jobs")
    with pytest.raises(dg.Failure):
        cloud.client().list_jobs(PROJECT_ID, ENVIRONMENT_ID)
    cloud.be(answer_seconds=30)
    with pytest.raises(dg.Failure):
        cloud.client(request_timeout=1).list_jobs(PROJECT_ID, ENVIRONMENT_ID)
    cloud.be()

    assert cloud.client().list_jobs(PROJECT_ID, ENVIRONMENT_ID)


def test_jobs_runs_and_artifacts_outlive_it(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    with running_dbt_cloud(project, tmp_path / "state") as first:
        run = first.run(steps=["dbt parse"])
    with running_dbt_cloud(project, tmp_path / "state") as second:
        again = second.ask("GET", f"runs/{run['id']}/").json()["data"]

        assert second.jobs() == {"Daily build": 1001}
        assert (again["status"], again["finished_at"]) == (SUCCESS, run["finished_at"])
        assert "manifest.json" in second.client().list_run_artifacts(run["id"])
        assert second.run(steps=["dbt --version"])["id"] == run["id"] + 1
