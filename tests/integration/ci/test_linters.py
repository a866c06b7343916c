"""The linters of workflows, at their strictest and with no network; and that each of them would speak."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root
from tests.support.tools import required

ROOT = repository_root()
BIN = Path(sys.executable).parent
SCRIPTS = sorted((ROOT / ".github").rglob("*.sh"))


def zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(
        str(BIN / "zizmor"), "--offline", "--persona=pedantic", "--strict-collection", "--no-progress", str(folder)
    )


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    workflows = [str(file) for file in sorted((folder / ".github/workflows").glob("*.yml"))]
    return run(required("actionlint"), "-shellcheck", str(BIN / "shellcheck"), *workflows, folder=folder)


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def altered(tmp_path: Path) -> Path:
    """A copy whose pull requests have a step that a stranger's title gets into."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    (tmp_path / ".git").mkdir()
    file = tmp_path / ".github/workflows/ci.yml"
    text = file.read_text()
    assert "run: make lint" in text
    file.write_text(text.replace("run: make lint", "run: echo ${{ github.event.pull_request.title }}"))
    return tmp_path


def test_zizmor_has_nothing_to_say() -> None:
    ended = zizmor(ROOT)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_zizmor_refuses_a_strangers_text_in_a_script(altered: Path) -> None:
    ended = zizmor(altered)

    assert ended.returncode != 0
    assert "template-injection" in ended.stdout


def test_actionlint_has_nothing_to_say() -> None:
    ended = actionlint(ROOT)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_actionlint_refuses_a_strangers_text_in_a_script(altered: Path) -> None:
    ended = actionlint(altered)

    assert ended.returncode == 1
    assert "potentially untrusted" in ended.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    ended = run(str(BIN / "shellcheck"), str(script))

    assert ended.returncode == 0, ended.stdout
