"""Something stands in for a service to which no setting leads, and for no other."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_apollo.environment import unset_services, with_stand_ins
from dagster_apollo.host.processes import ProcessGroup
from dagster_apollo.host.unset_services import buckets_of, services_of, start_stand_ins
from dagster_apollo.tenant import TenantConfig
from tests.support.shop_tenant import places_below, write_tenant

VARIABLES = {
    "SHOP__POSTGRES_URL": "postgresql://shop:secret@127.0.0.1:5/shop",
    "RATES__AWS_ENDPOINT_URL_S3": "http://127.0.0.1:6",
    "RATES__AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:7",
    "RATES__AWS_ACCESS_KEY_ID": "rates",
    "RATES__AWS_SECRET_ACCESS_KEY": "secret",
    "RATES__AWS_REGION": "us-east-1",
}
OF_RATES = {name for name in VARIABLES if name.startswith("RATES__")}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA"}


@pytest.mark.parametrize(
    ("given", "unset"),
    [
        ({}, {"postgres", "s3", "dynamodb", "dbt_cloud"}),
        ({"POSTGRES_URL": "postgresql://x/y"}, {"s3", "dynamodb", "dbt_cloud"}),
        ({"SHOP__DBT_CLOUD_TOKEN": "t"}, {"postgres", "s3", "dynamodb"}),
        ({"CELLAR__POSTGRES_URL": "postgresql://x/y"}, {"postgres", "s3", "dynamodb", "dbt_cloud"}),
        ({"POSTGRES_URL": " "}, {"postgres", "s3", "dynamodb", "dbt_cloud"}),
        (KEYS, {"postgres", "dbt_cloud"}),
        ({"AWS_ENDPOINT_URL_S3": "http://store", **KEYS}, {"postgres", "dynamodb", "dbt_cloud"}),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://tables", **KEYS}, {"postgres", "s3", "dbt_cloud"}),
    ],
    ids=["nothing", "shared", "own", "another's", "blank", "amazon", "own store", "own tables"],
)
def test_a_service_is_unset_where_neither_its_address_nor_its_keys_are_given(
    given: dict[str, str], unset: set[str]
) -> None:
    assert unset_services(given, "SHOP__") == unset


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """The folder of stand-ins, written by a process that lives: this one."""
    lines = [f"# Written by `apollo dev`, process {os.getpid()}; gone when it ends."]
    (tmp_path / "env").write_text("\n".join([*lines, *(f"{name}={value}" for name, value in VARIABLES.items())]))
    return tmp_path


def test_a_command_beside_a_running_stack_is_given_what_stands_in_there(beside: Path) -> None:
    assert with_stand_ins({"PATH": "/bin"}, beside) == {"PATH": "/bin", **VARIABLES}


@pytest.mark.parametrize(
    ("environ", "left_out"),
    [
        ({"POSTGRES_URL": "postgresql://real/one"}, {"SHOP__POSTGRES_URL"}),
        ({"RATES__AWS_ACCESS_KEY_ID": "AKIA", "RATES__AWS_SECRET_ACCESS_KEY": "s"}, OF_RATES),
        ({"DBT_TARGET": "dev"}, set(VARIABLES)),
        ({"SHOP__DBT_TARGET": "prod"}, {"SHOP__POSTGRES_URL"}),
        ({"DBT_TARGET": "dev", "RATES__DBT_TARGET": "local"}, {"SHOP__POSTGRES_URL"}),
    ],
)
def test_what_a_person_set_goes_before_what_stands_in(
    beside: Path, environ: dict[str, str], left_out: set[str]
) -> None:
    assert with_stand_ins(environ, beside) == {
        **{name: value for name, value in VARIABLES.items() if name not in left_out},
        **environ,
    }


def test_what_a_killed_stack_left_is_not_taken(beside: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    text = (beside / "env").read_text()
    (beside / "env").write_text(text.replace(f"process {os.getpid()}", f"process {ended.pid}"))

    assert with_stand_ins({"PATH": "/bin"}, beside) == {"PATH": "/bin"}


def test_without_a_stack_nothing_is_added(tmp_path: Path) -> None:
    assert with_stand_ins({"PATH": "/bin"}, tmp_path) == {"PATH": "/bin"}


def test_a_tenant_needs_its_services_and_the_dbt_cloud_that_builds_it() -> None:
    numbers = {"account_id": 1, "project_id": 2, "environment_id": 3}
    config = TenantConfig.model_validate({"services": ["s3"], "warehouse": "dbt_cloud", "dbt_cloud": numbers})

    assert services_of(config) == {"s3", "dbt_cloud"}


def test_the_buckets_of_a_tenant_are_those_that_its_variables_name() -> None:
    environment = {"BRONZE_URL": "s3://bronze/rates", "GOLD_URL": "s3://gold", "SITE": "https://bronze.example.com"}

    assert buckets_of(TenantConfig(environment=environment)) == {"bronze", "gold"}


def test_where_the_stand_ins_are_not_installed_it_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = places_below(tmp_path)
    write_tenant(places, "warehouse: duckdb\nservices: [postgres, s3]\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    lines: list[str] = []

    with ProcessGroup(tmp_path / "logs") as group:
        environ = start_stand_ins(group, {"PATH": "/bin"}, places, ["shop"], lines.append)

    assert environ == {"PATH": "/bin"}
    assert lines == [
        "shop: AWS_ENDPOINT_URL_S3, POSTGRES_URL is not set, and nothing can stand in: "
        "set it, or start from the whole repository (`make setup`)"
    ]


@pytest.mark.parametrize("environ", [{"DBT_TARGET": "dev"}, {"POSTGRES_URL": "postgresql://a:b@localhost/c"}])
def test_nothing_is_started_for_a_tenant_that_lacks_nothing_or_builds_elsewhere(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    places = places_below(tmp_path)
    write_tenant(places, "warehouse: duckdb\nservices: [postgres]\n")

    with ProcessGroup(tmp_path / "logs") as group:
        assert start_stand_ins(group, environ, places, ["shop"], pytest.fail) == environ
        assert group.processes == []
