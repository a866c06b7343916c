"""Where a tenant's runs are executed: what it says, what a variable overrides, and what cannot go elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.deploy.platforms import Platform, platform_problems
from dagster_apollo.errors import TenantError
from dagster_apollo.execution.run_place import run_place
from dagster_apollo.fork import Fork, ForkError, parse_fork
from dagster_apollo.projections.compose import compose
from dagster_apollo.projections.render_blueprint import render_blueprint
from dagster_apollo.settings import read
from dagster_apollo.tenant import Tenant, TenantConfig
from dagster_apollo.topology import topology

EVERYWHERE = parse_fork(
    {
        "docker_host": {"engine_socket": "/var/run/docker.sock"},
        "runs": {
            "elsewhere": ["render_job", "docker", "kubernetes"],
            "kubernetes": {"kubeconfig": "/srv/kubeconfig"},
        },
    }
)


def tenant(**config: object) -> Tenant:
    return Tenant("acme", Path("acme"), Path("acme"), {}, TenantConfig.model_validate(config))


def place(which: Tenant, **environ: str) -> str:
    return run_place(which, read({"DBT_TARGET": "prod", **environ}, which.name))


def test_runs_are_executed_on_the_host_unless_the_tenant_says_otherwise() -> None:
    assert place(tenant()) == "host"
    assert place(tenant(run_on="kubernetes")) == "kubernetes"


def test_a_laptop_executes_them_itself() -> None:
    assert place(tenant(run_on="render_job"), DBT_TARGET="local", APOLLO_RUN_ON="docker") == "host"


def test_a_variable_overrides_it_for_all_or_for_one() -> None:
    assert place(tenant(run_on="render_job"), APOLLO_RUN_ON="host") == "host"
    assert place(tenant(), ACME__APOLLO_RUN_ON="docker", APOLLO_RUN_ON="host") == "docker"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"warehouse": "duckdb"}, "the database is a file on the code host"),
        ({"ingestion": {"destination": "duckdb"}}, "the database is a file on the code host"),
        ({"execution": "docker", "container": {"image": "x:1"}}, "nobody there may start containers"),
        ({"run_plan": "8c-64g"}, "no size of a one-off job"),
    ],
)
def test_what_cannot_go_elsewhere_is_refused_in_the_file_and_by_the_variable(
    config: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        tenant(run_on="render_job", **config)
    with pytest.raises(TenantError, match=says) as refused:
        place(tenant(**config), ACME__APOLLO_RUN_ON="render_job")
    assert "ACME__APOLLO_RUN_ON" in str(refused.value)


@pytest.mark.parametrize(
    ("platform", "run_on", "fork", "says"),
    [
        ("render", "render_job", EVERYWHERE, ""),
        ("render", "kubernetes", EVERYWHERE, ""),
        ("docker", "docker", EVERYWHERE, ""),
        ("render", "docker", EVERYWHERE, "Render gives no service a container engine"),
        ("docker", "render_job", EVERYWHERE, "do not reach a Docker host's database"),
        ("render", "render_job", Fork(), 'elsewhere = ["render_job"]'),
        ("docker", "kubernetes", Fork(), 'elsewhere = ["kubernetes"]'),
    ],
)
def test_what_a_platform_cannot_give_is_told_before_a_deploy(
    platform: Platform, run_on: str, fork: Fork, says: str
) -> None:
    found = platform_problems(tenant(run_on=run_on), read({"DBT_TARGET": "prod"}, "acme"), fork, platform)

    assert len(found) == (1 if says else 0)
    assert says in "".join(map(str, found))
    if says:
        assert "ACME__APOLLO_RUN_ON=host" in str(found[0])


def test_the_daemon_alone_is_given_what_it_takes_and_only_where_the_fork_says_so() -> None:
    with_all, without = topology(EVERYWHERE), topology(Fork())

    names = {variable.name for variable in with_all.daemon.variables} - {
        variable.name for variable in without.daemon.variables
    }
    assert names == {"RENDER_API_KEY", "KUBECONFIG"}
    assert with_all.daemon.binds == {
        "/var/run/docker.sock": "/var/run/docker.sock",
        "/srv/kubeconfig": "/etc/secrets/kubeconfig",
    }
    assert with_all.daemon.capabilities == ("SETGID", "SETUID")
    assert without.daemon.binds is None
    assert with_all.webserver == without.webserver
    assert {variable.name for variable in with_all.code.variables} & names == set()


def test_it_stands_in_both_projections() -> None:
    assert "RENDER_API_KEY" in render_blueprint(EVERYWHERE)
    assert "RENDER_API_KEY" not in render_blueprint(Fork())
    assert "/srv/kubeconfig:/etc/secrets/kubeconfig" in compose(EVERYWHERE)
    assert "kubeconfig" not in compose(Fork())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"runs": {"elsewhere": ["docker"]}}, "engine_socket"),
        ({"runs": {"elsewhere": ["lambda"]}}, "runs.elsewhere.0"),
        ({"runs": {"elsewere": []}}, "Did you mean `elsewhere`"),
        ({"runs": {"kubernetes": {"namespac": "x"}}}, "Did you mean `namespace`"),
        ({"runs": {"kubernetes": {"namespace": "No Name"}}}, "lower-case letters"),
    ],
)
def test_a_fork_that_says_it_wrongly_is_told(content: dict[str, object], says: str) -> None:
    with pytest.raises(ForkError, match=says):
        parse_fork(content)
