"""The gate before a merge: real dbt, the laptop's target and production's, and nothing that is secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagster_apollo.dbt.gate import pass_gate, without_credentials
from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.errors import Problem
from dagster_apollo.new_tenant import make_tenant

SECRET = "correct-horse-Battery"
MODELS = {
    "well": "select 1 as one",
    "asks_for_a_secret": "select '{{ env_var('MAIL_TOKEN') }}' as one",
    "asks_for_its_own": "select '{{ env_var('COLOUR') }}' as one",
    "asks_for_the_warehouse": "select '{{ env_var('SNOWFLAKE_USER') }}' as one",
    "fails_in_production": "{% if target.name == 'prod' %} select * from {{ ref('nothing') }} {% endif %} select 1",
    "fails_everywhere": "select * from {{ ref('nothing') }}",
}
SHELL = {
    "MAIL_TOKEN": SECRET,
    "ASKS_FOR_ITS_OWN__COLOUR": SECRET,
    "SNOWFLAKE_USER": SECRET,
    "SNOWFLAKE_PRIVATE_KEY_B64": SECRET,  # no key at all: it would be refused where anybody looked at it
    "DBT_TARGET": "dev",
}


@pytest.fixture(scope="module")
def tenants_dir(module_folder: Path) -> Path:
    folder = module_folder / "tenants"
    folder.mkdir()
    for name, sql in MODELS.items():
        made, _ = make_tenant(folder, repository_root() / "tenants/_template", name, None)
        (made / "models/marts/asked.sql").write_text(sql + "\n")
    (folder / "no_project").mkdir()
    return folder


@pytest.fixture(scope="module")
def found(tenants_dir: Path) -> dict[str, list[Problem]]:
    places = Places(repository_root(), tenants_dir, tenants_dir.parent / "state")
    return pass_gate({**os.environ, **SHELL}, places, [*MODELS, "no_project"])


def test_a_tenant_of_snowflake_passes_without_any_credential(found: dict[str, list[Problem]]) -> None:
    assert found["well"] == []


@pytest.mark.parametrize(
    ("tenant", "variable"),
    [
        ("asks_for_a_secret", "MAIL_TOKEN"),
        ("asks_for_its_own", "COLOUR"),
        ("asks_for_the_warehouse", "SNOWFLAKE_USER"),
    ],
)
def test_what_this_shell_knows_the_gate_does_not(found: dict[str, list[Problem]], tenant: str, variable: str) -> None:
    (problem,) = found[tenant]

    assert f"Env var required but not provided: '{variable}'" in problem.what
    assert SECRET not in str(problem)


def test_what_fails_in_production_alone_is_found_on_a_pull_request(found: dict[str, list[Problem]]) -> None:
    (problem,) = found["fails_in_production"]

    assert "depends on a node named 'nothing'" in problem.what


def test_what_fails_in_both_targets_is_told_once(found: dict[str, list[Problem]]) -> None:
    assert len(found["fails_everywhere"]) == 1


def test_a_folder_without_a_project_is_stopped(found: dict[str, list[Problem]]) -> None:
    assert [problem.where for problem in found["no_project"]] == ["tenants/no_project"]


def test_nothing_is_left_behind(found: dict[str, list[Problem]], tenants_dir: Path) -> None:
    assert found
    assert sorted(entry.name for entry in tenants_dir.parent.iterdir()) == ["tenants"]
    assert list(tenants_dir.rglob("target")) == []


def test_only_what_says_nothing_of_a_warehouse_or_a_secret_is_kept() -> None:
    plain = {"PATH": "/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    others = {"GITHUB_TOKEN": SECRET, "DAGSTER_PG_URI": SECRET, "RENDER_DEPLOY_HOOK_CODE": SECRET, "DBT_SCHEMA": "x"}

    assert without_credentials({**plain, **SHELL, **others}) == plain
