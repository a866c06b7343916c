"""Runs that their tenant sends elsewhere, here to one-off jobs of the fake Render: real processes, killed and canceled.

Webserver, daemon and code host are those of a fork that has `render_job`; the tenant builds in Postgres, in `prod`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from tests.support.checkout import copy_checkout
from tests.support.fake_render.app import PREFIX, FakeRender, Fault
from tests.support.fake_render.processes import Processes
from tests.support.fake_render.server import served
from tests.support.fake_render.world import FakeService, World
from tests.support.postgres import running_postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import write_tenant

pytestmark = pytest.mark.slow

KEY, SECRET = "rnd_of_a_test", "a-secret-of-another-tenant"
LOCK = 4711
# Waits while the test holds the lock.
SLOW = f"{{{{ config(materialized='table') }}}} select 1 as id from (select pg_advisory_xact_lock_shared({LOCK})) as w"
FILES = {"quick.sql": "{{ config(materialized='table') }} select 1 as id", "slow.sql": SLOW}
LOOKS = """\
import os

import dagster as dg


@dg.asset(key_prefix="alpha")
def looks() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"variables": " ".join(sorted(os.environ)), "user": str(os.getuid())})


defs = dg.Definitions(assets=[looks])
"""


@dataclass
class Deployment:
    """The roles, and Render."""

    roles: Roles
    render: FakeRender
    jobs: Processes

    @property
    def service(self) -> FakeService:
        return self.render.world.service("dagster-code")

    def launch(self, *assets: str, job: str = "__ASSET_JOB") -> str:
        return self.roles.webserver.launch("alpha", job, [f"alpha/{name}" for name in assets])

    def wait_for(self, run_id: str, *statuses: str, seconds: float = 300) -> str:
        def status() -> str:
            return str(self.roles.webserver.run(run_id)["status"])

        self.roles.wait_until(lambda: status() in statuses, f"the run is {' or '.join(statuses)}", seconds)
        return status()

    def job_of(self, run_id: str) -> dict[str, str]:
        [job] = [job for job in self.service.jobs if run_id in job["startCommand"]]
        return job

    @contextmanager
    def held(self) -> Iterator[None]:
        """The slow model waits."""
        connection = psycopg2.connect(self.roles.postgres.url())
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"select pg_advisory_lock({LOCK})")
                yield
        finally:
            connection.close()


@pytest.fixture(scope="module")
def deployment(module_folder: Path) -> Iterator[Deployment]:
    module_folder.chmod(0o755)
    fork = copy_checkout(module_folder / "fork")
    with (fork / "apollo.toml").open("a") as file:
        file.write('\n[runs]\nelsewhere = ["render_job"]\n')
    for name in ("jobs", "roles"):
        (module_folder / name).mkdir()
    jobs = Processes(module_folder / "jobs")
    world = World(jobs)
    fake = FakeRender(world, KEY)
    with running_postgres() as postgres, served(fake), roles_of(module_folder / "roles", postgres) as roles:
        declared = "warehouse: postgres\nrun_on: render_job\n"
        write_tenant(roles.tenants_dir, "alpha", {**FILES, "definitions.py": LOOKS}, declared)
        variables = {
            "PYTHONPATH": str(fork),
            "ALPHA__POSTGRES_URL": postgres.url(),
            "BETA__POSTGRES_URL": SECRET,
        }
        service = world.add_service(
            "dagster-code", "private_service", "ghcr.io/acme/x:main", variables=roles.environ("code", **variables)
        )
        world.set_status(service, world.new_deploy(service, "ghcr.io/acme/x:main", "blueprint_sync"), "live")
        try:
            roles.start("code", **variables)
            api = {"RENDER_API_KEY": KEY, "RENDER_API_URL": f"{world.base_url}{PREFIX}"}
            roles.start("daemon", PYTHONPATH=str(fork), **api)
            roles.start("webserver", "--migrate", PYTHONPATH=str(fork))
            roles.wait_until(
                lambda: roles.status().get("locations", {}).get("alpha", {}).get("loaded"), "the tenant is loaded", 400
            )
            yield Deployment(roles, fake, jobs)
        finally:
            jobs.close()


def test_a_run_is_executed_in_a_job_by_the_tenants_user_with_its_variables_alone(deployment: Deployment) -> None:
    run_id = deployment.launch("quick", "looks")

    assert deployment.wait_for(run_id, "SUCCESS", "FAILURE", "CANCELED") == "SUCCESS", deployment.jobs.said(
        deployment.job_of(run_id)["id"]
    )
    job = deployment.job_of(run_id)
    assert job["startCommand"] == f"apollo run alpha {run_id}"
    assert job["planId"] == "plan-srv-008"
    assert deployment.jobs.started[job["id"]].wait(30) == 0
    tags = deployment.roles.webserver.run(run_id)["tags"]
    assert tags["apollo/run_on"] == "render_job"
    assert tags["apollo/render_job"] == job["id"]
    assert deployment.roles.webserver.built(run_id) == {"alpha/quick", "alpha/looks"}
    assert deployment.roles.postgres.rows("select id from public.quick") == [(1,)]
    seen = deployment.roles.webserver.assets("alpha")["alpha/looks"]["assetMaterializations"][0]["metadataEntries"]
    told = {entry["label"]: entry["text"] for entry in seen}
    assert "ALPHA__POSTGRES_URL" in told["variables"].split()
    assert not re.search(r"BETA|APOLLO_CODE_TOKEN|RENDER_API_KEY", told["variables"])
    assert SECRET not in deployment.jobs.said(job["id"])


def test_a_job_whose_answer_is_lost_is_found_and_not_started_twice(deployment: Deployment) -> None:
    deployment.render.faults.append(Fault("POST", rf"{PREFIX}/services/[^/]+/jobs", 502, heard=True))

    run_id = deployment.launch("quick")

    assert deployment.wait_for(run_id, "SUCCESS", "FAILURE", "CANCELED") == "SUCCESS"
    assert deployment.job_of(run_id)["status"] in ("running", "succeeded")


def test_a_run_whose_job_dies_is_marked_within_a_minute_with_what_happened(deployment: Deployment) -> None:
    with deployment.held():
        run_id = deployment.launch("slow")
        deployment.wait_for(run_id, "STARTED")
        deployment.jobs.kill(deployment.job_of(run_id)["id"])

        assert deployment.wait_for(run_id, "FAILURE", "CANCELED", seconds=60) == "FAILURE"
    told = " ".join(str(event.get("message")) for event in deployment.roles.webserver.events(run_id))
    assert f"one-off job {deployment.job_of(run_id)['id']} is over: failed" in told


def test_a_run_that_is_canceled_in_the_webserver_ends_itself(deployment: Deployment) -> None:
    with deployment.held():
        run_id = deployment.launch("slow")
        deployment.wait_for(run_id, "STARTED")
        deployment.roles.webserver.terminate(run_id)

        assert deployment.wait_for(run_id, "FAILURE", "CANCELED", seconds=60) == "CANCELED"
        assert deployment.jobs.started[deployment.job_of(run_id)["id"]].wait(30) == 0
    assert [request for request in deployment.render.asked if request.endswith("/cancel")] == []
