"""Runs that their tenant sends to containers of their own, by dagster-docker on a real engine, beside the stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from dagster_apollo.elsewhere.docker import RUN_LABEL
from dagster_apollo.fork import load_fork
from dagster_apollo.projections.compose import compose
from tests.support.compose import ComposeHost, compose_host
from tests.support.container_engine import ContainerEngine
from tests.support.tenants import write_tenant
from tests.support.webserver import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PROJECT = "apollo-test-elsewhere"
CODE_TOKEN, OF_BETA, OF_ALPHA = "code-token-4711" * 3, "of-beta-4711", "of-alpha-4711"
LOCK = 4711
SLOW = f"{{{{ config(materialized='table') }}}} select 1 as id from (select pg_advisory_xact_lock_shared({LOCK})) as w"
LOOKS = """\
import os
from pathlib import Path

import dagster as dg


@dg.asset(key_prefix="alpha")
def looks() -> dg.MaterializeResult:
    of_others = [str(file) for file in Path("/proc").glob("[0-9]*/environ") if readable(file)]
    seen = {"variables": " ".join(sorted(os.environ)), "user": str(os.getuid()), "read": " ".join(of_others)}
    return dg.MaterializeResult(metadata=seen)


def readable(file):
    try:
        return b"APOLLO_RUN_PROOF" in file.read_bytes()
    except OSError:
        return False


defs = dg.Definitions(assets=[looks])
"""
FILES = {
    "quick.sql": "{{ config(materialized='table') }} select 1 as id",
    "slow.sql": SLOW,
    "definitions.py": LOOKS,
    "tenant.yaml": "warehouse: postgres\nrun_on: docker\nrun_plan: 0.5c-512mb\n",
}


@dataclass
class Containers:
    """A stack that starts runs in containers."""

    host: ComposeHost

    def launch(self, *assets: str) -> str:
        return self.host.stack.webserver.launch("alpha", "__ASSET_JOB", [f"alpha/{name}" for name in assets])

    def wait_for(self, run_id: str, *statuses: str, seconds: float = 600) -> str:
        def status() -> str:
            return str(self.host.stack.webserver.run(run_id)["status"])

        final = {*statuses, "SUCCESS", "FAILURE", "CANCELED"}
        try:
            wait_until(lambda: status() in final, f"the run is {' or '.join(statuses)}", seconds)
        finally:
            told = [str(event.get("message")) for event in self.host.stack.webserver.events(run_id)]
        assert status() in statuses, "\n".join([status(), *told, self.host.logs()])
        return status()

    def of_run(self, run_id: str) -> list[dict[str, Any]]:
        """What the engine says of a run's containers."""
        ids = self.host.engine.docker("ps", "--all", "--quiet", "--filter", f"label={RUN_LABEL}={run_id}").split()
        found: list[dict[str, Any]] = json.loads(self.host.engine.docker("inspect", *ids)) if ids else []
        return found

    @contextmanager
    def held(self) -> Iterator[None]:
        """The slow model waits: a session holds its lock until it is ended."""
        database = self.host.containers()["dagster-postgres"]["Id"]
        holding = f"select pg_advisory_lock({LOCK}); select pg_sleep(3000)"
        psql = ["psql", "-U", "dagster", "-d", "dagster", "-c"]
        self.host.engine.docker("exec", "--detach", database, *psql, holding)
        try:
            yield
        finally:
            ends = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(3000)%'"
            self.host.run("exec", database, *psql, f"{ends} and pid <> pg_backend_pid()")


@pytest.fixture(scope="module")
def stack(container_engine: ContainerEngine, module_folder: Path) -> Iterator[Containers]:
    tokens = {"environment": {"APOLLO_CODE_TOKEN": CODE_TOKEN}}
    roles = ("dagster-code", "dagster-daemon", "dagster-webserver")
    override = yaml.safe_dump({"services": dict.fromkeys(roles, tokens)})
    with compose_host(container_engine, module_folder, PROJECT, overrides={"token.yaml": override}) as host:
        socket = container_engine.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        with (host.clone / "apollo.toml").open("a") as file:
            file.write(f'\n[docker_host]\nengine_socket = "{socket}"\n[runs]\nelsewhere = ["docker"]\n')
        (host.clone / "compose.yaml").write_text(compose(load_fork(host.clone)))
        rmtree(host.clone / "tenants")
        write_tenant(host.clone / "tenants", "alpha", FILES)
        password = dotenv_values(host.clone / ".env")["POSTGRES_PASSWORD"]
        url = f"postgresql://dagster:{password}@dagster-postgres:5432/dagster"
        variables = f"ALPHA__POSTGRES_URL={url}\nALPHA__OWN={OF_ALPHA}\nBETA__OWN={OF_BETA}\n"
        (host.clone / ".env.tenants").write_text(variables)
        with (host.clone / ".env").open("a") as file:
            file.write("DBT_TARGET=prod\n")
        made = Containers(host)
        try:
            host.up("--build")
            host.stack.wait_until_it_serves("alpha")
            yield made
        finally:
            left = container_engine.docker("ps", "--all", "--quiet", "--filter", f"label={RUN_LABEL}").split()
            ours = [each for each in left if PROJECT in container_engine.docker("inspect", each)]
            if ours:
                container_engine.docker("rm", "--force", *ours)


def test_a_run_is_executed_in_a_container_by_the_tenants_user_with_its_variables_alone(stack: Containers) -> None:
    run_id = stack.launch("quick", "looks")
    stack.wait_for(run_id, "STARTED", "SUCCESS")
    [container] = stack.of_run(run_id)

    stack.wait_for(run_id, "SUCCESS")
    webserver = stack.host.stack.webserver
    assert webserver.built(run_id) == {"alpha/quick", "alpha/looks"}
    entries = webserver.assets("alpha")["alpha/looks"]["assetMaterializations"][0]["metadataEntries"]
    seen = {entry["label"]: entry["text"] for entry in entries if entry.get("text") is not None}
    assert 20_000 <= int(seen["user"]) < 60_000
    assert {"ALPHA__OWN", "OWN"} <= set(seen["variables"].split())
    assert not {"BETA__OWN", "APOLLO_RUN_PROOF", "APOLLO_CODE_TOKEN"} & set(seen["variables"].split())
    assert seen["read"] == ""
    told = json.dumps(container)
    assert not [text for text in (OF_ALPHA, OF_BETA, CODE_TOKEN, "postgresql://") if text in told]


def test_the_container_has_the_code_hosts_image_network_and_rights(stack: Containers) -> None:
    with stack.held():
        run_id = stack.launch("slow")
        stack.wait_for(run_id, "STARTED")
        [container] = stack.of_run(run_id)
    code = stack.host.containers()["dagster-code"]

    assert container["Image"] == code["Image"]
    assert set(container["NetworkSettings"]["Networks"]) == set(code["NetworkSettings"]["Networks"])
    for name in ("CapAdd", "CapDrop", "SecurityOpt", "ReadonlyRootfs"):
        assert container["HostConfig"][name] == code["HostConfig"][name], name
    assert not container["HostConfig"]["Binds"]
    assert container["HostConfig"]["Memory"] == 512 << 20
    stack.wait_for(run_id, "SUCCESS")


def test_the_daemon_reaches_the_engine_unprivileged_and_the_webserver_not_at_all(stack: Containers) -> None:
    containers = stack.host.containers()

    script = "grep -hE '^(Uid|CapEff)' /proc/1/status /proc/*/status | sort -u | tr '\\n\\t' '  '"
    told = stack.host.engine.docker("exec", containers["dagster-daemon"]["Id"], "sh", "-c", script)
    assert "Uid: 10001" in told
    assert not containers["dagster-webserver"]["HostConfig"]["Binds"]


def test_a_run_whose_container_is_killed_is_marked_within_a_minute_with_what_happened(stack: Containers) -> None:
    with stack.held():
        run_id = stack.launch("slow")
        stack.wait_for(run_id, "STARTED")
        [container] = stack.of_run(run_id)
        stack.host.engine.docker("kill", container["Id"])

        stack.wait_for(run_id, "FAILURE", seconds=60)
    told = " ".join(str(event.get("message")) for event in stack.host.stack.webserver.events(run_id))
    assert "has ended: exit code 137" in told


def test_a_run_that_is_canceled_in_the_webserver_ends_itself_and_leaves_nothing(stack: Containers) -> None:
    with stack.held():
        run_id = stack.launch("slow")
        stack.wait_for(run_id, "STARTED")
        stack.host.stack.webserver.terminate(run_id)

        stack.wait_for(run_id, "CANCELED", seconds=90)
    label = f"label={RUN_LABEL}={run_id}"
    wait_until(
        lambda: not stack.host.engine.docker("ps", "--all", "--quiet", "--filter", label),
        "the daemon removes what ended",
        180,
    )
