"""The command line against the fake Render, with a fork of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_render.apollo import REPOSITORY, Deployment, deployed
from tests.support.fake_render.app import PREFIX
from tests.support.fake_render.command import Apollo, Said, apollo_command

# Printable and none of it plain in a URL, in JSON or in a shell.
API_KEY = 'rnd_CaNaRy+api/key="1&2%3D'
TOKEN = 'apollo_CaNaRy+token/="3&4%3D'
HOOK_KEY = 'CaNaRyHook+key/="5&6%3D'


@pytest.fixture
def fork_folder(tmp_path: Path) -> Path:
    """A repository with an `apollo.toml` and two tenants."""
    (tmp_path / "apollo.toml").write_text(f'name = "acme"\nimage = "{REPOSITORY}"\n', encoding="utf-8")
    for tenant in ("whisky", "riksdag"):
        folder = tmp_path / "tenants" / tenant
        folder.mkdir(parents=True)
        (folder / "dbt_project.yml").write_text(f"name: {tenant}\nversion: '1'\nprofile: apollo\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def start_render() -> Iterator[Callable[..., Deployment]]:
    """Starts a fake Render with the project on it."""
    with ExitStack() as stack:

        def start(**options: Any) -> Deployment:
            deployment = stack.enter_context(deployed(API_KEY, TOKEN, **options))
            for service in deployment.world.services:
                service.hook_key = HOOK_KEY
            return deployment

        yield start


@pytest.fixture
def render(start_render: Callable[..., Deployment]) -> Deployment:
    return start_render()


@pytest.fixture
def apollo(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    fork_folder: Path,
) -> Iterator[Apollo]:
    """Runs `apollo` against a fake Render with a fork's settings."""
    keys = {"RENDER_API_KEY": API_KEY, "APOLLO_TOKEN": TOKEN}
    planted = [API_KEY, TOKEN, HOOK_KEY]
    with apollo_command(monkeypatch, capsys, caplog, fork_folder, keys, planted) as command:

        def run(deployment: Deployment, *words: str, **options: Any) -> Said:
            return command(*words, **{"RENDER_API_URL": f"{deployment.world.base_url}{PREFIX}", **options})

        yield run
