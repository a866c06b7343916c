"""Rules that every workflow keeps, read from its text: rights, pins, limits, and commands that a person can run too.

What running them shows is in `tests/integration/ci`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from dagster_apollo.cli.commands import app
from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.deploy.changes import ENVIRONMENT
from dagster_apollo.settings import SETTINGS
from dagster_apollo.tenant import tenant_names
from dagster_apollo.topology import IMAGE_TAG

ROOT = repository_root()
FOLDER = ROOT / ".github"
FILES = {file.stem: file for file in sorted((FOLDER / "workflows").glob("*.yml"))}
# `on` is a boolean in YAML 1.1: read as text, as GitHub does.
WORKFLOWS: dict[str, Any] = {name: yaml.load(file.read_text(), yaml.BaseLoader) for name, file in FILES.items()}
JOBS = {f"{name}/{job}": content for name, workflow in WORKFLOWS.items() for job, content in workflow["jobs"].items()}
ALL_YAML = sorted(FOLDER.rglob("*.yml"))
# Every right to write that any job has, and what for.
MAY_WRITE = {
    ("deploy/push", "packages"): "to push the image",
    ("deploy/mark", "packages"): "to move the tag",
    ("lock/propose", "contents"): "to push the branch",
    ("lock/propose", "pull-requests"): "to open the pull request",
    ("lock/propose", "actions"): "to start ci.yml on it",
}


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step, with its job's name."""
    for name, job in JOBS.items():
        for step in job.get("steps", []):
            yield name, step
    for file in (FOLDER / "actions").rglob("action.yml"):
        for step in yaml.safe_load(file.read_text())["runs"]["steps"]:
            yield file.parent.name, step


def commands() -> list[str]:
    """Every line that is run."""
    return [line.strip() for _, step in steps() for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_rights_and_takes_turns(name: str) -> None:
    workflow = WORKFLOWS[name]

    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["cancel-in-progress"] == ("false" if name == "deploy" else "true")
    assert workflow["defaults"]["run"]["shell"] == "bash", "the default shell lets a failure in a pipe pass"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_says_its_rights_its_machine_and_its_limit(name: str) -> None:
    job = JOBS[name]

    assert "permissions" in job
    if "uses" not in job:
        assert job["runs-on"] == "ubuntu-24.04"
        assert 0 < int(job["timeout-minutes"]) <= 120


def test_nothing_is_written_but_what_is_listed_here() -> None:
    writes = {
        (name, right) for name, job in JOBS.items() for right, level in job["permissions"].items() if level != "read"
    }

    assert writes == set(MAY_WRITE)


def test_no_workflow_is_started_by_a_stranger_with_rights() -> None:
    for name, workflow in WORKFLOWS.items():
        assert {"pull_request_target", "workflow_run", "issue_comment", "issues"} & set(workflow["on"]) == set(), name
        if "pull_request" in workflow["on"]:
            assert all(right == "read" for job in workflow["jobs"].values() for right in job["permissions"].values())


def test_a_pull_request_that_a_filter_leaves_out_would_wait_for_ever() -> None:
    assert not WORKFLOWS["ci"]["on"]["pull_request"], "`required` has to run on every pull request"


def test_every_foreign_action_is_pinned_to_one_commit_and_says_its_version() -> None:
    pins: dict[str, set[str]] = defaultdict(set)
    for file in ALL_YAML:
        for line in file.read_text().splitlines():
            if found := re.match(r"\s*(?:- )?uses: (\S+)(.*)", line):
                if found[1].startswith("./"):
                    continue
                name, _, commit = found[1].partition("@")
                assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{file.name}: {line}"
                assert re.fullmatch(r" # v\d+(\.\d+\.\d+)?", found[2]), f"{file.name}: {line}"
                pins[name].add(found[1] + found[2])
    assert {"actions/checkout", "pulumi/actions"} <= set(pins)
    assert [pin for pin in pins.values() if len(pin) > 1] == [], "an action is pinned to two commits"


def test_a_checkout_leaves_no_credentials_behind() -> None:
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]

    assert len(checkouts) >= len(JOBS) - 2
    assert {step["with"]["persist-credentials"] for step in checkouts} == {"false"}


def test_no_text_of_anybody_is_pasted_into_a_script() -> None:
    for name, step in steps():
        assert "${{" not in step.get("run", ""), f"{name}: hand it over in `env`"
        assert "github-script" not in step.get("uses", "")


def test_every_step_is_a_command_that_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    root = typer.main.get_command(app)

    for line in commands():
        for target in re.findall(r"\bmake ([a-z-]+)", line):
            assert target in targets, line
        for found in re.findall(r"\.venv/bin/apollo ([a-z -]+?)(?= --| \"|\)|$)", line):
            command: Any = root
            for word in found.split():
                assert word in command.commands, line
                command = command.commands[word]
        assert re.match(r"(\w+=\$\()?(make|\.venv/bin/apollo|pulumi version|jq|echo) ?", line) or line in _OF_JQ, line


_OF_JQ = {
    ".changes.outputs.tenants as $tenants",
    "| all(to_entries[];",
    '.value.result == "success" or (.key == "tenants" and .value.result == "skipped" and $tenants == "[]"))',
    '\' <<< "$JOBS"',
}


def test_the_required_job_waits_for_all_others_and_runs_whatever_became_of_them() -> None:
    jobs = WORKFLOWS["ci"]["jobs"]

    assert set(jobs["required"]["needs"]) == set(jobs) - {"required"}
    assert jobs["required"]["if"] == "${{ always() }}"
    assert [name for name, job in JOBS.items() if "always()" in job.get("if", "")] == ["ci/required"]
    assert [name for name, job in JOBS.items() if "continue-on-error" in str(job)] == []


def test_a_deploy_is_of_main_after_all_of_ci_with_the_secrets_of_production_alone() -> None:
    workflow = WORKFLOWS["deploy"]
    jobs = workflow["jobs"]

    assert workflow["on"]["push"] == {"branches": ["main"]}
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert "secrets" not in jobs["ci"]
    assert jobs["push"]["needs"] == "ci"
    assert f"--first-tag {IMAGE_TAG} " in str(jobs["push"]["steps"]), "else no Blueprint could begin"
    assert f" --tag {IMAGE_TAG} " not in str(jobs["push"]["steps"]), "it names what was live and well last"
    assert f" --tag {IMAGE_TAG} " in str(jobs["mark"]["steps"])
    assert "deploy" in jobs["mark"]["needs"]
    assert "github.ref == 'refs/heads/main'" in jobs["push"]["if"]
    assert set(jobs["deploy"]["needs"]) == {"ci", "push"}
    assert jobs["deploy"]["environment"]["name"] == ENVIRONMENT
    with_secrets = {name for name, job in JOBS.items() if "secrets." in str(job)}
    assert with_secrets == {"deploy/deploy"}


def test_a_deploy_is_given_every_secret_that_it_reads() -> None:
    (step,) = (step for name, step in steps() if name == "deploy/deploy" and "secrets." in str(step))
    wanted = {setting.name for setting in SETTINGS if setting.group == "Deploy" and setting.secret}

    assert {name for name, value in step["env"].items() if "secrets." in value} == wanted
    assert all(step["env"][name] == f"${{{{ secrets.{name} }}}}" for name in wanted)


def test_no_cache_of_earlier_runs_comes_near_the_secrets() -> None:
    for name in ("deploy/push", "deploy/deploy", "deploy/mark", "lock/refresh"):
        setups = [step for job, step in steps() if job == name and step.get("uses") == "./.github/actions/setup"]
        assert [step["with"] for step in setups] == [{"cache": ""}], name


def test_the_pulumi_engine_is_the_one_that_the_program_is_written_for() -> None:
    (step,) = (step for _, step in steps() if step.get("uses", "").startswith("pulumi/actions@"))
    (locked,) = re.findall(r"^pulumi==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)

    assert step["with"]["pulumi-version"] == locked


def test_new_actions_are_taken_a_week_old_at_the_earliest() -> None:
    (update,) = yaml.safe_load((FOLDER / "dependabot.yml").read_text())["updates"]

    assert update["package-ecosystem"] == "github-actions"
    assert update["cooldown"]["default-days"] >= 7
    composites = {f"/{file.parent.relative_to(ROOT)}" for file in FOLDER.rglob("action.yml")}
    assert set(update["directories"]) == {"/", *composites}


def test_no_tenant_is_named() -> None:
    text = "".join(file.read_text() for file in FOLDER.rglob("*") if file.is_file())

    assert [name for name in tenant_names(ROOT / "tenants") if name in text] == []


def test_the_page_names_every_job_and_every_secret() -> None:
    page = (Path(ROOT) / "docs/ci.md").read_text()

    missing = [name.partition("/")[2] for name in JOBS if f"`{name.partition('/')[2]}`" not in page]
    missing += [name for name in re.findall(r"secrets\.(\w+)", FILES["deploy"].read_text()) if f"`{name}`" not in page]
    assert missing == []
