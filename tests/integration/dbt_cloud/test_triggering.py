"""Starting a run: one of dbt Cloud's own jobs by hand, and never twice what was asked for once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.dbt_cloud.client import open_workspace
from dagster_apollo.dbt_cloud.connection import Connection
from dagster_apollo.dbt_cloud.runs import CloudRun, trigger
from dagster_apollo.errors import DbtCloudError
from tests.support.cloud_shop import TENANT
from tests.support.dbt_cloud import ACCOUNT_ID, ENVIRONMENT_ID, PROJECT_ID, DbtCloud, running_dbt_cloud
from tests.support.tenant_folders import TenantFolders, failures

JOB, OP = "dbt_cloud_job_trigger", "shop__dbt_cloud_job"
JOBS = ("Daily build=dbt build", "Lonely=dbt run --select lonely", "Broken=dbt run --select nonsense:x")


@pytest.fixture(scope="module")
def running(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbtCloud]:
    with running_dbt_cloud(project, tmp_path_factory.mktemp("cloud"), jobs=JOBS) as started:
        yield started


@pytest.fixture(scope="module")
def definitions(running: DbtCloud, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    folders = TenantFolders(tmp_path_factory.mktemp("folders"), **running.settings("SHOP__"))
    folders.write("shop", {"tenant.yaml": TENANT}, as_it_is=True)
    return folders.load("shop")


def triggered(definitions: dg.Definitions, job: str = "") -> dg.ExecuteInProcessResult:
    config = {"ops": {OP: {"config": {"job": job}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def(JOB).execute_in_process(config, instance=instance, raise_on_error=False)


def causes(cloud: DbtCloud) -> list[str]:
    return [run["trigger"]["cause"] for run in cloud.runs()]


def test_a_job_is_run_with_its_own_commands(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    assert triggered(definitions, "Lonely").success

    last = cloud.runs()[-1]
    assert (last["job_id"], last["trigger"]["steps_override"]) == (cloud.jobs()["Lonely"], None)
    assert last["run_steps"][-1]["name"] == "Invoke dbt with `dbt run --select lonely`"


def test_a_job_is_named_by_its_number_too(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    assert triggered(definitions, str(cloud.jobs()["Lonely"])).success


def test_a_job_that_fails_shows_dbts_words_and_the_runs_address(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    result = triggered(definitions, "Broken")

    assert "not a valid method name" in failures(result)
    assert cloud.runs()[-1]["href"] in failures(result)


def test_a_job_that_is_not_there_is_answered_with_those_that_are(definitions: dg.Definitions) -> None:
    assert "There are: Broken, Daily build, Lonely" in failures(triggered(definitions, "Nightly"))


def test_of_several_jobs_one_must_be_named(definitions: dg.Definitions) -> None:
    assert "is not named, and there are several" in failures(triggered(definitions))


def test_a_run_whose_trigger_was_not_answered_is_found_and_not_started_again(cloud: DbtCloud) -> None:
    connection = Connection(cloud.url, ACCOUNT_ID, PROJECT_ID, ENVIRONMENT_ID, cloud.token)
    client = open_workspace(connection, timeout_seconds=1).get_client()
    cloud.be(answer_seconds=30, hide_answers=True, only="POST ")
    before = len(causes(cloud))
    run = trigger(client, cloud.jobs()["Lonely"], "Asked for once")

    assert len(causes(cloud)) == before + 1
    assert cloud.ended(run.id)["is_success"]


def test_a_run_that_appears_only_after_its_trigger_was_given_up_is_found(cloud: DbtCloud) -> None:
    connection = Connection(cloud.url, ACCOUNT_ID, PROJECT_ID, ENVIRONMENT_ID, cloud.token)
    client = open_workspace(connection, timeout_seconds=1).get_client()
    cloud.be(answer_seconds=5, only="POST ")  # carried out then, and nobody waits for it any more
    before = len(causes(cloud))
    run = trigger(client, cloud.jobs()["Lonely"], "Arrives late", look_seconds=60)

    assert len(causes(cloud)) == before + 1
    assert cloud.ended(run.id)["is_success"]


def test_a_run_is_looked_for_while_dbt_cloud_does_not_list_it(cloud: DbtCloud) -> None:
    connection = Connection(cloud.url, ACCOUNT_ID, PROJECT_ID, ENVIRONMENT_ID, cloud.token)
    client = open_workspace(connection, timeout_seconds=1, tries=1).get_client()
    number = cloud.jobs()["Lonely"]
    cloud.be(answer_seconds=30, hide_answers=True)
    well_again = threading.Timer(4, cloud.be)
    well_again.start()
    run = trigger(client, number, "Not listed at first", look_seconds=60)
    well_again.join()

    assert cloud.ended(run.id)["is_success"]


def test_a_run_that_has_ended_when_it_is_found_still_tells_its_log(cloud: DbtCloud) -> None:
    client = open_workspace(Connection(cloud.url, ACCOUNT_ID, PROJECT_ID, ENVIRONMENT_ID, cloud.token)).get_client()
    there = cloud.run("Broken")
    [listed] = client.ask("get", "runs", params={"order_by": "-id", "limit": 1})
    run = CloudRun(client, there["id"], there["href"], listed)
    told: list[str] = []
    run.follow(told.append, told.append)

    assert "dbt run --select nonsense:x" in "".join(told)
    assert "not a valid method name" in " ".join(run.errors())


def test_a_trigger_that_never_arrived_says_so(cloud: DbtCloud) -> None:
    connection = Connection(cloud.url, ACCOUNT_ID, PROJECT_ID, ENVIRONMENT_ID, cloud.token)
    client = open_workspace(connection).get_client()
    cloud.be(status=500, only="/jobs/")
    before = causes(cloud)

    with pytest.raises(DbtCloudError, match=r"answered 500 to POST.*no run with the cause 'Never arrives"):
        trigger(client, 1002, "Never arrives", look_seconds=1)
    assert causes(cloud) == before
