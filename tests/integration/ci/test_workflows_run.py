"""The workflows themselves, run: what a pull request is held to, and what has to be green before anything is deployed.

What act does not model (filters, permissions, concurrency, environments) is asserted in `tests/contracts`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_apollo.dbt.workspace import repository_root
from tests.support.act import WorkflowRun
from tests.support.canned_http import canned_http
from tests.support.workflow_fork import DIGEST, IMAGE, IMAGE_ID, WorkflowFork

BROKEN = "select * from {{ ref('a_model_that_nobody_wrote') }}\n"
CI = {"changes", "lint", "declared", "test", "pulumi", "image", "required"}


@pytest.fixture
def fork(folder: Path) -> WorkflowFork:
    return WorkflowFork(folder, "alpha", "beta")


@pytest.fixture
def fork_without_tenants(folder: Path) -> WorkflowFork:
    """Where it does not matter what is parsed, nothing is: dbt takes most of the time."""
    return WorkflowFork(folder)


def parsed(run: WorkflowRun) -> dict[str, bool]:
    """Tenant → whether the gate let it pass, of those that went through it: act gives all of a matrix one result."""
    return {name: verdict == "may pass" for name, verdict in re.findall(r"\b(\w+): (may pass|is stopped)\b", run.said)}


@contextmanager
def deployed(commit: str) -> Iterator[str]:
    """GitHub's answer that a commit is live; gives the address to ask."""

    def answer(_: str, asked: dict[str, Any]) -> tuple[int, Any]:
        assert asked["variables"]["environment"] == "production"
        nodes = [{"commitOid": "0" * 40, "state": "FAILURE"}, {"commitOid": commit, "state": "ACTIVE"}]
        return 200, {"data": {"repository": {"deployments": {"nodes": nodes}}}}

    with canned_http(answer) as port:
        yield f"http://127.0.0.1:{port}/graphql"


def test_a_new_tenant_is_one_folder_and_goes_through_the_gate_alone(fork: WorkflowFork) -> None:
    base = fork.git("rev-parse", "HEAD")
    fork.add_tenant("gamma")
    fork.commit("A tenant")

    run = fork.open_pull_request(base)

    assert {path.split("/")[1] for path in fork.git("diff", "--name-only", base).splitlines()} == {"gamma"}
    assert parsed(run) == {"gamma": True}, run.said
    assert run.results == dict.fromkeys({*CI, "tenants"}, True)
    assert run.job("changes").outputs["deploys"] == "tenants"
    targets = {"lint", "test", "check-generated", "check-workflows", "test-infra", "image", "test-image"}
    assert targets <= set(fork.called("make"))
    assert fork.called("apollo ci push") == fork.called("apollo deploy") == []


def test_a_broken_tenant_stops_the_merge_and_the_others_are_not_asked(fork: WorkflowFork) -> None:
    base = fork.git("rev-parse", "HEAD")
    fork.write("tenants/beta/models/marts/broken.sql", BROKEN)
    fork.commit("A reference to nothing")

    run = fork.open_pull_request(base)

    assert parsed(run) == {"beta": False}
    assert "a_model_that_nobody_wrote" in run.said
    assert run.results == {**dict.fromkeys(CI, True), "tenants": False, "required": False}
    assert not run.succeeded


def test_a_change_that_touches_no_tenant_skips_the_gate_and_may_be_merged(fork: WorkflowFork) -> None:
    base = fork.git("rev-parse", "HEAD")
    fork.write("docs/page.md", "A page.\n")
    fork.commit("A page")

    run = fork.open_pull_request(base)

    assert run.results == dict.fromkeys(CI, True), run.said
    assert run.job("changes").outputs["deploys"] == "none"


@pytest.mark.parametrize("target", ["setup", "lint"])
def test_what_fails_makes_the_required_job_fail(fork_without_tenants: WorkflowFork, target: str) -> None:
    fork_without_tenants.fail(target)

    run = fork_without_tenants.open_pull_request(base="")

    assert run.results["required"] is False
    assert not run.succeeded


def required(results: Mapping[str, str], tenants: str = "[]") -> int:
    """How the script of the required job ends where the other jobs have ended so."""
    job = yaml.safe_load((repository_root() / ".github/workflows/ci.yml").read_text())["jobs"]["required"]
    (step,) = job["steps"]
    jobs = {name: {"result": "success", "outputs": {}} for name in job["needs"]}
    jobs["changes"]["outputs"] = {"tenants": tenants}
    for name, result in results.items():
        jobs[name]["result"] = result
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]  # as GitHub runs `shell: bash`
    return subprocess.run(command, env={**os.environ, "JOBS": json.dumps(jobs)}, capture_output=True).returncode


def test_the_required_job_takes_success_alone_but_of_a_gate_with_nothing_to_do() -> None:
    assert required({}) == 0
    assert required({"tenants": "skipped"}) == 0
    assert required({}, '["alpha"]') == 0
    assert required({"tenants": "skipped"}, '["alpha"]') != 0
    assert required({"changes": "failure", "tenants": "skipped"}, "") != 0
    for name in ("changes", "tenants", "lint", "declared", "test", "pulumi", "image"):
        assert required({name: "failure"}) != 0
        assert required({name: "cancelled"}) != 0
        assert name == "tenants" or required({name: "skipped"}) != 0


def test_after_green_the_image_that_was_tested_is_pushed_and_deployed_by_its_digest(fork: WorkflowFork) -> None:
    live = fork.git("rev-parse", "HEAD")
    fork.write("tenants/alpha/models/marts/one.sql", "select 1 as one\n")
    fork.commit("A model")
    fork.write("docs/page.md", "A page.\n")
    commit = fork.commit("A page, before the model went live")

    with deployed(live) as url:
        run = fork.push(url)

    assert run.results == dict.fromkeys({*CI, "tenants", "push", "deploy", "mark"}, True), run.said
    assert parsed(run) == {"alpha": True}
    assert fork.called("apollo ci push") == [
        f"--id {IMAGE_ID} --tag {commit} --first-tag main --archive dist/image.tar",
        f"--id {IMAGE_ID} --tag main --archive dist/image.tar",
    ]
    assert f"image push --quiet {IMAGE}:{commit}" in fork.called("docker")
    assert fork.called("apollo deploy") == [f"--image {IMAGE}@{DIGEST} --changed tenants --minutes 15"]
    order = [job.name for job in run.jobs]
    assert order.index("required") < order.index("push") < order.index("deploy") < order.index("mark")
    assert "ghs_of_the_test" not in run.said


def test_after_red_nothing_is_pushed_and_nothing_deployed(fork_without_tenants: WorkflowFork) -> None:
    fork_without_tenants.fail("test")

    run = fork_without_tenants.push()

    assert run.results == {**dict.fromkeys(CI, True), "test": False, "required": False}, run.said
    assert fork_without_tenants.called("docker") == fork_without_tenants.called("apollo deploy") == []


def test_on_main_every_tenant_is_parsed_where_nobody_knows_what_is_live_and_a_broken_one_stops_the_deploy(
    fork: WorkflowFork,
) -> None:
    fork.write("tenants/beta/models/marts/broken.sql", BROKEN)
    fork.commit("Past the gate")

    run = fork.push()

    assert parsed(run) == {"alpha": True, "beta": False}
    assert run.results == {**dict.fromkeys(CI, True), "tenants": False, "required": False}


def test_a_merge_that_changes_nothing_of_what_is_live_is_not_deployed(fork_without_tenants: WorkflowFork) -> None:
    fork = fork_without_tenants
    live = fork.git("rev-parse", "HEAD")
    fork.write("docs/page.md", "A page.\n")
    fork.commit("A page")

    with deployed(live) as url:
        run = fork.push(url)

    assert run.results == dict.fromkeys(CI, True), run.said


def test_a_fork_that_has_not_said_where_its_image_goes_is_tested_and_not_deployed(
    fork_without_tenants: WorkflowFork,
) -> None:
    fork_without_tenants.write("apollo.toml", "")
    fork_without_tenants.commit("A new fork")

    run = fork_without_tenants.push()

    assert run.results == dict.fromkeys(CI, True), run.said


def test_where_nobody_knows_what_is_live_all_is_deployed_and_a_deploy_that_fails_makes_the_run_red(
    fork_without_tenants: WorkflowFork,
) -> None:
    fork_without_tenants.end_deploy_with(4)

    run = fork_without_tenants.push()

    assert fork_without_tenants.called("apollo deploy") == [f"--image {IMAGE}@{DIGEST} --changed all --minutes 15"]
    assert run.results == {**dict.fromkeys(CI, True), "push": True, "deploy": False}, run.said
    assert not run.succeeded
