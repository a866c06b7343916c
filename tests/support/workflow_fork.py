"""A small fork in a Git repository of its own, for running the workflows of this one.

Its package, workflows and tenants are real; `make`, `docker` and `apollo deploy` write down how they were called and
end as they were told to. `act.py` runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.new_tenant import make_tenant
from tests.support.act import WorkflowRun, run_workflows

STUBS = repository_root() / "tests/data/act_stubs"
IMAGE = "ghcr.io/team/warehouse"
IMAGE_ID = f"sha256:{'1' * 64}"
DIGEST = f"sha256:{'2' * 64}"
_COPIED = ("dagster_apollo", ".github", "requirements.txt", "tenants/_template")
_APOLLO = """#!/usr/bin/env bash
echo "apollo $*" >> "{log}"
if [[ $1 == deploy ]]; then
    exit "$(<"{bench}/apollo-deploy")"
fi
PYTHONPATH=$PWD exec "{python}" -m dagster_apollo.cli.main "$@"
"""
_MAKE = """#!/usr/bin/env bash
echo "make $*" >> "{log}"
case $1 in
    setup) mkdir -p .venv/bin && cp "{bench}/apollo" .venv/bin ;;
    image) mkdir -p dist && echo "{image_id}" > dist/image.id ;;
    image-archive) echo layers > dist/image.tar ;;
esac
! grep --quiet --line-regexp --fixed-strings -- "$1" "{bench}/failing"
"""
_DOCKER = """#!/usr/bin/env bash
echo "docker $*" >> "{log}"
case "$*" in
    *RepoDigests*) echo '["{image}@{digest}"]' ;;
    *.Id*) echo "${{@: -1}}" ;;
    *imagetools*) echo "ERROR: ${{@: -1}}: not found" >&2; exit 1 ;;
    load*) [[ $(<"${{@: -1}}") == layers ]] ;;
esac
"""
_PULUMI = """#!/usr/bin/env bash
echo "pulumi $*" >> "{log}"
"""


class WorkflowFork:
    """A fork of a test.

    Args:
        folder: an empty folder.
        tenants: those that it begins with, from the template.
    """

    def __init__(self, folder: Path, *tenants: str) -> None:
        self.root = folder / "fork"
        self._bench = folder / "bench"
        self._log = self._bench / "log"
        self._artifacts = folder / "artifacts"
        self._bench.mkdir()
        self._write_programs()
        for path in _COPIED:
            source, target = repository_root() / path, self.root / path
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self.write("apollo.toml", f'image = "{IMAGE}"\n')
        self.write(".gitignore", "/.venv/\n/dist/\n__pycache__/\n/.apollo/\ndbt_packages/\n")
        for name in tenants:
            self.add_tenant(name)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit("Begin")

    def _write_programs(self) -> None:
        known = {
            "log": self._log,
            "bench": self._bench,
            "python": sys.executable,
            "image_id": IMAGE_ID,
            "image": IMAGE,
            "digest": DIGEST,
        }
        programs = self._bench / "bin"
        programs.mkdir()
        for file, text in (
            (self._bench / "apollo", _APOLLO),
            (programs / "make", _MAKE),
            (programs / "docker", _DOCKER),
            (programs / "pulumi", _PULUMI),
        ):
            file.write_text(text.format(**known))
            file.chmod(0o755)
        self.fail()
        self.end_deploy_with(0)

    def fail(self, *targets: str) -> None:
        """From now on these targets of `make` fail, and no others."""
        (self._bench / "failing").write_text("".join(f"{target}\n" for target in targets))

    def end_deploy_with(self, code: int) -> None:
        """From now on `apollo deploy` ends with this exit code."""
        (self._bench / "apollo-deploy").write_text(str(code))

    def git(self, *words: str) -> str:
        """Run git in it."""
        who = ("-c", "user.name=team", "-c", "user.email=team@example.com")
        command = ["git", "-C", str(self.root), *who, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def add_tenant(self, name: str) -> None:
        """A tenant from the template, as `apollo tenant new` makes it."""
        make_tenant(self.root / "tenants", self.root / "tenants" / "_template", name, None)

    def commit(self, message: str) -> str:
        """Commit everything; gives the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def open_pull_request(self, base: str) -> WorkflowRun:
        """Run ci.yml as for a pull request of what is checked out."""
        payload = {"number": 1, "pull_request": {"number": 1, "base": {"sha": base, "ref": "main"}}}
        return self._run("pull_request", "ci.yml", payload, {})

    def push(self, graphql_url: str = "http://127.0.0.1:9") -> WorkflowRun:
        """Run deploy.yml as for a push to main.

        Args:
            graphql_url: where GitHub is asked which commit is live.
        """
        payload: dict[str, object] = {"ref": "refs/heads/main", "after": self.git("rev-parse", "HEAD")}
        return self._run("push", "deploy.yml", payload, {"GITHUB_GRAPHQL_URL": graphql_url})

    def _run(self, event: str, workflow: str, payload: Mapping[str, object], environ: Mapping[str, str]) -> WorkflowRun:
        self._log.write_text("")
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{self._bench / 'bin'}:{before}"  # act hands on the PATH that it was started with
        try:
            return run_workflows(
                self.root,
                event,
                workflow=workflow,
                payload=payload,
                actions=self._stubs(),
                secrets={"GITHUB_TOKEN": "ghs_of_the_test"},
                environ={"ARTIFACTS": str(self._artifacts), **environ},
            )
        finally:
            os.environ["PATH"] = before

    def called(self, program: str) -> list[str]:
        """How a program was called in the last run, the order of jobs that ran at once left to chance."""
        return [
            line.removeprefix(f"{program} ")
            for line in self._log.read_text().splitlines()
            if line.startswith(f"{program} ")
        ]

    def _stubs(self) -> dict[str, Path]:
        found = {}
        for name in foreign_actions(self.root / ".github"):
            action = name.partition("@")[0].rpartition("/")[2]
            found[name] = STUBS / (action if (STUBS / action).is_dir() else "nothing")
        found.pop(next(name for name in found if name.startswith("actions/checkout@")))
        return found


def foreign_actions(folder: Path) -> set[str]:
    """Every `owner/name@ref` that workflows and actions below a folder use."""
    steps: list[dict[str, Any]] = []
    for file in folder.rglob("*.yml"):
        content = yaml.safe_load(file.read_text())
        for job in [content.get("runs") or {}, *(content.get("jobs") or {}).values()]:
            steps += job.get("steps") or []
    return {step["uses"] for step in steps if "uses" in step and not step["uses"].startswith("./")}
