"""What Git says differs, and what GitHub says is live; and that nothing is guessed where they cannot tell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.deploy.changes import Unknown, changed_paths, deployed_commit
from tests.support.canned_http import canned_http

TOKEN = "ghs_never_shown"


class Repository:
    """A Git repository of a test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=team", "-c", "user.email=team@example.com")
        environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        command = ["git", "-C", str(self.root), *who, *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, *paths: str) -> str:
        for path in paths:
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{path} {len(list(self.root.rglob('*')))}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A commit")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def test_every_path_that_was_added_changed_or_removed_is_named(repository: Repository) -> None:
    base = repository.commit("kept", "changed", "removed")
    (repository.root / "removed").unlink()
    repository.commit("changed", "added")

    assert changed_paths(repository.root, base) == ("added", "changed", "removed")


def test_a_file_that_was_moved_is_named_where_it_was_and_where_it_is(repository: Repository) -> None:
    base = repository.commit("tenants/one/a.sql")
    (repository.root / "tenants/two").mkdir()
    repository.git("mv", "tenants/one/a.sql", "tenants/two/a.sql")
    repository.commit()

    assert changed_paths(repository.root, base) == ("tenants/one/a.sql", "tenants/two/a.sql")


def test_a_path_is_named_as_it_is_whatever_letters_it_has(repository: Repository) -> None:
    base = repository.commit()
    names = ("tenants/$(touch owned)/a", "tenants/ö ü/a", 'tenants/"quoted"\n/a')
    repository.commit(*names)

    assert set(changed_paths(repository.root, base)) == set(names)  # type: ignore[arg-type]


def test_a_branch_is_not_charged_with_what_main_has_gained_since(repository: Repository) -> None:
    repository.commit()
    repository.git("switch", "--quiet", "--create", "branch")
    repository.commit("mine")
    repository.git("switch", "--quiet", "main")
    repository.commit("theirs")
    repository.git("switch", "--quiet", "branch")

    assert changed_paths(repository.root, "main", since_branching=True) == ("mine",)
    assert changed_paths(repository.root, "main") == ("mine", "theirs")


def test_going_back_to_an_older_commit_is_a_change_of_what_is_live(repository: Repository) -> None:
    older = repository.commit()
    live = repository.commit("a")
    repository.git("reset", "--quiet", "--hard", older)

    assert changed_paths(repository.root, live) == ("a",)


@pytest.mark.parametrize("base", ["", "0" * 40, "no-such-branch", "--output=/tmp/owned", "main; touch owned"])
def test_a_base_that_is_none_is_unknown(repository: Repository, base: str) -> None:
    repository.commit("a")

    assert isinstance(changed_paths(repository.root, base), Unknown)


def test_a_shallow_clone_says_that_it_does_not_reach_back(repository: Repository, tmp_path: Path) -> None:
    base = repository.commit("a")
    repository.commit("b")
    repository.git("clone", "--quiet", "--depth", "1", f"file://{repository.root}", str(tmp_path / "shallow"))

    assert isinstance(changed_paths(tmp_path / "shallow", base), Unknown)


def test_a_folder_that_is_no_repository_is_unknown(tmp_path: Path) -> None:
    assert isinstance(changed_paths(tmp_path, "main"), Unknown)


def ask(status: int, content: Any) -> tuple[str | Unknown, dict[str, Any]]:
    """What is live where GitHub answers so, and what GitHub was asked."""
    asked: dict[str, Any] = {}

    def answer(_: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked.update(body)
        return status, content

    with canned_http(answer) as port:
        url = f"http://127.0.0.1:{port}/graphql"
        environ = {"GITHUB_REPOSITORY": "team/warehouse", "GITHUB_TOKEN": TOKEN, "GITHUB_GRAPHQL_URL": url}
        return deployed_commit(environ), asked


def deployments(*states: str) -> dict[str, Any]:
    nodes = [{"commitOid": f"commit-{number}", "state": state} for number, state in enumerate(states)]
    return {"data": {"repository": {"deployments": {"nodes": nodes}}}}


def test_the_newest_deploy_that_succeeded_is_live() -> None:
    commit, asked = ask(200, deployments("IN_PROGRESS", "FAILURE", "SUCCESS", "INACTIVE", "ACTIVE"))

    assert commit == "commit-2"
    assert asked["variables"] == {"owner": "team", "name": "warehouse", "environment": "production"}
    assert "direction: DESC" in asked["query"]


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, deployments()),
        (200, deployments("FAILURE", "INACTIVE")),
        (200, {"data": None, "errors": [{"message": "Resource not accessible by integration"}]}),
        (200, []),
        (401, {"message": "Bad credentials"}),
        (502, None),
    ],
)
def test_where_github_names_none_nothing_is_guessed(status: int, content: Any) -> None:
    answer, _ = ask(status, content)

    assert isinstance(answer, Unknown)
    assert TOKEN not in answer.reason


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no url", "http://[", "ftp://example.com"])
def test_a_github_that_cannot_be_reached_is_no_failure(url: str) -> None:
    environ = {"GITHUB_REPOSITORY": "team/warehouse", "GITHUB_TOKEN": TOKEN, "GITHUB_GRAPHQL_URL": url}

    assert isinstance(deployed_commit(environ), Unknown)


@pytest.mark.parametrize("missing", ["GITHUB_REPOSITORY", "GITHUB_TOKEN"])
def test_outside_of_github_nothing_is_known(missing: str) -> None:
    environ = {"GITHUB_REPOSITORY": "team/warehouse", "GITHUB_TOKEN": TOKEN}

    assert isinstance(deployed_commit({**environ, missing: ""}), Unknown)
