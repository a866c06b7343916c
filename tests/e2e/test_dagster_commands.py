"""Dagster's own commands, typed in the repository's root with nothing set: they find the tenants by themselves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.stack import BIN, REPOSITORY, StartStack, bare_environment, run_to_its_end
from tests.support.webserver import wait_until

ASSET = "dbt_williamgrant/raw/raw_brands"
LOCATION = "tenants"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environ(module_folder: Path) -> dict[str, str]:
    """What a shell has, and state of the test's own, so that a developer's is left alone."""
    bare = bare_environment(module_folder)
    return {**bare, "PATH": f"{BIN}:{os.environ['PATH']}", "TENANTS": "dbt_williamgrant"}


@pytest.fixture(scope="module", autouse=True)
def _checkout_stays_clean() -> Iterator[None]:
    before = _untracked()
    yield
    assert _untracked() - before == set()


@pytest.mark.parametrize(
    ("command", "mentions"),
    [
        ("dagster definitions validate", f"Validation successful for code location {LOCATION}"),
        # Of Dagster's commands these two look into no pyproject.toml; `dg` is what replaces them.
        ("dagster asset list -m dagster_apollo.definitions", ASSET),
        (f"dagster asset materialize -m dagster_apollo.definitions --select key:{ASSET}", "RUN_SUCCESS"),
        ("dg check defs", "All definitions loaded successfully"),
        ("dg list defs --json", ASSET),
        (f"dg launch --assets key:{ASSET}", "RUN_SUCCESS"),
    ],
    ids=lambda value: " ".join(value.split()[:3]),
)
def test_a_command_finds_the_tenants(environ: dict[str, str], command: str, mentions: str) -> None:
    code, said = run_to_its_end(command.split(), environ)
    assert code == 0, said
    assert mentions in said


def test_with_nothing_set_at_all_the_assets_are_listed() -> None:
    code, said = run_to_its_end(
        ["dagster", "asset", "list", "-m", "dagster_apollo.definitions"],
        {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": os.environ["HOME"]},
    )
    assert code == 0, said
    assert ASSET in said


@pytest.mark.parametrize("program", ["dagster", "dg"])
def test_its_development_server_answers_and_loads_the_tenants(
    environ: dict[str, str], start_stack: StartStack, program: str
) -> None:
    port = str(free_port())
    stack = start_stack({**environ, "PORT": port}, command=[program, "dev", "-h", "127.0.0.1", "-p", port])
    stack.wait_until_it_says(f"Serving dagster-webserver on http://127.0.0.1:{port}")
    wait_until(stack.answers, "it answers on its port")  # it says so a moment before
    wait_until(lambda: LOCATION in stack.webserver.locations(), "the location is there")
    assert stack.webserver.locations() == {LOCATION: None}
    assert ASSET in stack.webserver.assets(LOCATION)
    stack.stop()
    wait_until(lambda: not stack.processes(), "its processes end")


def _untracked() -> set[str]:
    """What lies in the root that git neither has nor ignores."""
    told = subprocess.run(
        ["git", "status", "--short", "--untracked-files=normal"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {line for line in told.splitlines() if line.startswith("??") and line.count("/") <= 1}
