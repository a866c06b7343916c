"""The pull request of a newer lock, against a real remote; GitHub's `gh` writes down what it was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root

SCRIPT = ".github/propose_lock.sh"
GH = """#!/usr/bin/env bash
printf '%s\\n' "${*%%$'\\n'*}" >> "$GH_LOG"
[[ "$1 $2" != "pr list" ]] || echo "$GH_OPEN"
"""


class Clone:
    """A clone that a workflow works in."""

    def __init__(self, folder: Path) -> None:
        self.remote, self.root = folder / "remote", folder / "clone"
        self._bin, self._log = folder / "bin", folder / "log"
        self._bin.mkdir()
        (self._bin / "gh").write_text(GH)
        (self._bin / "gh").chmod(0o755)
        self._log.touch()
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(self.remote)], check=True)
        subprocess.run(["git", "clone", "--quiet", str(self.remote), str(self.root)], check=True, capture_output=True)
        (self.root / ".github").mkdir()
        shutil.copy(repository_root() / SCRIPT, self.root / ".github")
        for name in ("requirements.txt", "requirements-dev.txt", "other.txt"):
            (self.root / name).write_text("old\n")
        self.git("switch", "--quiet", "--create", "main")
        self.git("add", "--all")
        self.git("-c", "user.name=team", "-c", "user.email=team@example.com", "commit", "--quiet", "--message", "Begin")
        self.git("push", "--quiet", "origin", "main")

    def git(self, *words: str) -> str:
        command = ["git", "-C", str(self.root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def propose(self, open_already: int = 0) -> list[str]:
        """Run it; gives what `gh` was asked for."""
        self._log.write_text("")
        environ = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "HOME": str(self._bin),
            "GH_LOG": str(self._log),
            "GH_OPEN": str(open_already),
        }
        subprocess.run([str(self.root / SCRIPT)], env=environ, check=True, capture_output=True, text=True)
        return self._log.read_text().splitlines()

    def proposed(self, path: str) -> str:
        """A file as it is on the branch at the remote."""
        command = ["git", "-C", str(self.remote), "show", f"lock-refresh:{path}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(folder: Path) -> Clone:
    return Clone(folder)


def test_a_lock_that_is_the_newest_already_opens_nothing(clone: Clone) -> None:
    assert clone.propose() == []


def test_a_newer_lock_becomes_a_pull_request_that_ci_runs_on(clone: Clone) -> None:
    (clone.root / "requirements.txt").write_text("new\n")
    (clone.root / "other.txt").write_text("new\n")

    asked = clone.propose()

    assert clone.proposed("requirements.txt") == "new\n"
    assert clone.proposed("other.txt") == "old\n"
    assert [line for line in asked if line.startswith("pr create")]
    assert asked[-1] == "workflow run ci.yml --ref lock-refresh"


def test_the_next_week_brings_the_open_pull_request_up_to_date(clone: Clone) -> None:
    (clone.root / "requirements.txt").write_text("new\n")
    clone.propose()
    clone.git("switch", "--quiet", "main")
    (clone.root / "requirements-dev.txt").write_text("newer\n")

    asked = clone.propose(open_already=1)

    assert clone.proposed("requirements-dev.txt") == "newer\n"
    assert clone.proposed("requirements.txt") == "old\n"
    assert not [line for line in asked if line.startswith("pr create")]
