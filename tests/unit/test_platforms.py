"""What a platform cannot give a tenant is told before a deploy."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.deploy.platforms import Platform, platform_problems
from dagster_apollo.fork import Fork, parse_fork
from dagster_apollo.settings import read
from dagster_apollo.tenant import Tenant, TenantConfig

WITH_ENGINE = parse_fork({"docker_host": {"engine_socket": "/var/run/docker.sock"}})


def told(platform: Platform, fork: Fork = WITH_ENGINE, execution: str = "docker", **environ: str) -> str:
    config = {"execution": execution, "container": {"image": "x:1"}}
    return told_of(config, platform, fork, **environ)


def told_of(fields: dict[str, object], platform: Platform, fork: Fork = WITH_ENGINE, **environ: str) -> str:
    config = TenantConfig.model_validate(fields)
    tenant = Tenant("riksdag", Path("riksdag"), Path("riksdag"), {}, config)
    problems = platform_problems(tenant, read(environ, "riksdag"), fork, platform)
    return "\n".join(map(str, problems))


def test_render_has_no_engine() -> None:
    assert "Render gives no service a container engine" in told("render")
    assert "RIKSDAG__APOLLO_EXECUTION=process" in told("render")


def test_a_docker_host_has_one_where_the_fork_says_so() -> None:
    assert told("docker") == ""
    assert "engine_socket" in told("docker", Fork())
    assert "RIKSDAG__APOLLO_EXECUTION=process" in told("docker", Fork())


@pytest.mark.parametrize("platform", ["render", "docker"])
def test_what_runs_natively_needs_none(platform: Platform) -> None:
    assert told(platform, Fork(), execution="process") == ""
    assert told(platform, Fork(), RIKSDAG__APOLLO_EXECUTION="process") == ""
    assert told(platform, Fork(), APOLLO_EXECUTION="process") == ""


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"warehouse": "duckdb"}, "tenants/riksdag/tenant.yaml: warehouse: is `duckdb`"),
        ({"warehouse": "duckdb", "services": ["dynamodb"]}, "warehouse: is `duckdb`"),
        ({"ingestion": {"destination": "duckdb"}}, "ingestion.destination: is `duckdb`"),
    ],
)
def test_on_render_a_duckdb_file_is_no_place_that_lasts(fields: dict[str, object], told: str) -> None:
    assert told in told_of(fields, "render")
    assert told_of(fields, "docker") == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"warehouse": "duckdb", "services": ["s3"]},
        {"warehouse": "duckdb", "services": ["postgres"], "ingestion": {"destination": "duckdb"}},
        {"ingestion": {"destination": "snowflake"}},
        {},
    ],
)
def test_a_tenant_with_a_lasting_place_may_run_on_render(fields: dict[str, object]) -> None:
    assert told_of(fields, "render") == ""
