"""What a change touches: the tenants that are parsed, and how much a deploy replaces."""

from __future__ import annotations

import pytest

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.projections.ci_matrix import MOST_JOBS, Change, batches, touched

EVERYONE = ("alpha", "beta")
EVERYTHING = Change(EVERYONE, "all")


def test_what_nobody_knows_touches_everything() -> None:
    assert touched(None, {"beta", "alpha"}) == EVERYTHING


def test_no_difference_touches_nothing() -> None:
    assert touched([], EVERYONE) == Change((), "none")


@pytest.mark.parametrize(
    "path",
    ["tenants/beta/models/a.sql", "tenants/beta/README.md", "tenants/beta/docs/a.md", "tenants/beta/sub/_deep/a.sql"],
)
def test_a_tenants_file_touches_that_tenant_and_the_code_host(path: str) -> None:
    assert touched([path], EVERYONE) == Change(("beta",), "tenants")


def test_a_tenant_that_is_gone_is_not_parsed_but_leaves_the_code_host() -> None:
    assert touched(["tenants/gone/dbt_project.yml"], EVERYONE) == Change((), "tenants")


def test_a_tenant_whose_name_begins_as_anothers_is_another() -> None:
    assert touched(["tenants/beta/a.sql"], ["beta", "beta_two", "b"]) == Change(("beta",), "tenants")


@pytest.mark.parametrize(
    "path",
    [
        "dagster_apollo/settings.py",
        "requirements.txt",
        "pyproject.toml",
        "Dockerfile",
        "apollo.toml",
        "scripts/entrypoint.sh",
        "tenants/README.md",
        "a_file_that_nobody_has_heard_of",
        "README.md.d/a",
        "docs",
    ],
)
def test_the_package_the_lock_and_whatever_is_unknown_touch_everything(path: str) -> None:
    assert touched(["docs/a.md", path], EVERYONE) == EVERYTHING


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", "Makefile", "requirements-dev.txt"])
def test_a_change_of_the_gate_is_tried_on_every_tenant_and_deploys_nothing(path: str) -> None:
    assert touched([path], EVERYONE) == Change(EVERYONE, "none")


@pytest.mark.parametrize(
    "path", ["docs/a.md", "tests/unit/test_a.py", "tenants/_template/dbt_project.yml", "README.md", "render.yaml"]
)
def test_what_stands_beside_touches_nothing(path: str) -> None:
    assert touched([path], EVERYONE) == Change((), "none")


def test_a_change_of_several_kinds_deploys_the_most() -> None:
    assert touched(["tenants/beta/a.sql", "Dockerfile"], EVERYONE) == EVERYTHING
    assert touched(["tenants/beta/a.sql", "Makefile"], EVERYONE) == Change(EVERYONE, "tenants")


def test_whatever_goes_into_the_image_is_deployed() -> None:
    lines = (repository_root() / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    # The first gives the package its description, the second the tools that install it: neither runs.
    let_in -= {"README.md", "requirements-dev.txt"}

    assert {"dagster_apollo", "tenants", "requirements.txt"} <= let_in
    for path in let_in:
        inside = path if (repository_root() / path).is_file() else f"{path}/alpha/file"
        wanted = "tenants" if path == "tenants" else "all"
        assert touched([inside], EVERYONE).deploys == wanted, path


def test_each_tenant_has_a_job_of_its_own_while_there_are_few() -> None:
    assert batches([]) == []
    assert batches(["alpha", "beta"]) == ["alpha", "beta"]


def test_many_tenants_share_jobs_and_none_is_left_out() -> None:
    many = [f"tenant_{number:03}" for number in range(257)]

    jobs = batches(many)

    assert len(jobs) <= MOST_JOBS
    assert [name for job in jobs for name in job.split(",")] == many
