"""The Dockerfile, its entry point and what is kept out of it: by the linters, and by what must never be there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_apollo.topology import FULL_STAGE, HOST_STAGE, STATE_DIR, UNPRIVILEGED
from tests.support.checkout import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
ENTRYPOINT = (REPOSITORY / "scripts/entrypoint.sh").read_text()


@pytest.mark.parametrize(("linter", "file"), [("hadolint", "Dockerfile"), ("shellcheck", "scripts/entrypoint.sh")])
def test_the_linter_finds_nothing(linter: str, file: str) -> None:
    program = Path(sys.executable).parent / linter
    done = subprocess.run([program, REPOSITORY / file], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_fetched_by_a_syntax_line() -> None:
    assert "# syntax=" not in DOCKERFILE


def test_what_changes_more_often_comes_later() -> None:
    order = ["COPY requirements.txt", "COPY dagster_apollo", "COPY tenants"]
    places = [DOCKERFILE.index(line) for line in order]

    assert places == sorted(places)
    assert DOCKERFILE.index("COPY tenants") > DOCKERFILE.index("AS tenants")


def test_dependencies_are_installed_by_hash() -> None:
    installs = re.findall(r"pip [^\\&]*install[^&]*", DOCKERFILE)

    assert installs
    assert [line for line in installs if "--require-hashes" not in line and "*.whl" not in line] == []


def test_the_stages_are_those_of_the_topology() -> None:
    stages = re.findall(r"(?m)^FROM \S+ AS (\S+)", DOCKERFILE)

    assert stages[-1] == FULL_STAGE
    assert f"FROM {HOST_STAGE} AS {FULL_STAGE}" in DOCKERFILE


def test_user_and_state_folder_are_those_of_the_topology() -> None:
    user, group = UNPRIVILEGED.split(":")

    assert f"--gid {group} " in DOCKERFILE
    assert f"--uid {user} " in DOCKERFILE
    assert f"--reuid {user} --regid {group} " in ENTRYPOINT
    assert f"APOLLO_STATE_DIR={STATE_DIR} " in DOCKERFILE


def test_no_argument_of_the_build_is_a_secret() -> None:
    arguments = re.findall(r"(?m)^ARG (\w+)", DOCKERFILE)

    assert sorted(set(arguments)) == ["DBT_TARGET", "REVISION", "VERSION"]


def test_the_build_context_is_nothing_but_what_is_named() -> None:
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]

    assert lines[0] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        f"!{name}"
        for name in (
            "apollo.toml", "dagster.yaml", "pyproject.toml", "README.md", "requirements.txt", "requirements-dev.txt",
            "dagster_apollo", "scripts/entrypoint.sh", "tenants",
        )
    }  # fmt: skip
    for secret in ("**/.env", "**/.env.*", "**/*.p8", "**/*.pem", "**/*.key", "**/access.yaml", "**/profiles.yml"):
        assert secret in lines
