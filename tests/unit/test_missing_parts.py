"""What happens to a test whose real part is not on the machine: skipped with the reason, and failed on CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import MissingPart
from tests.support.tools import MissingPulumiEngine, required

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a machine that has no part at all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    cache = tmp_path / "dagster_apollo"
    (cache / "missing").mkdir(parents=True)
    return cache


def test_a_missing_part_says_why_the_installation_could_not_bring_it(bare_machine: Path) -> None:
    (bare_machine / "missing" / "dex").write_text("there is no Go\n")
    with pytest.raises(MissingPart, match=r"^no dex: there is no Go$"):
        required("dex")


def test_a_part_that_was_never_installed_says_what_brings_it(bare_machine: Path) -> None:
    with pytest.raises(MissingPart, match=r"^no act: `make test-parts` brings it$"):
        required("act")


def test_a_part_built_for_the_tests_goes_before_the_one_on_the_path(bare_machine: Path) -> None:
    (bare_machine / "tools").mkdir()
    for program in (bare_machine / "tools" / "act", bare_machine.parent / "act"):
        program.touch(mode=0o755)
    assert required("act") == str(bare_machine / "tools" / "act")


@pytest.mark.usefixtures("bare_machine")
def test_the_pulumi_engine_is_told_from_other_missing_parts() -> None:
    with pytest.raises(MissingPulumiEngine):
        required("pulumi")


@pytest.mark.parametrize(
    ("on_ci", "part", "outcome"),
    [
        ("", "dex", "1 skipped"),
        ("true", "dex", "1 failed"),
        ("true", "pulumi", "1 skipped"),
    ],
)
def test_only_the_pulumi_engine_may_be_missing_on_ci(tmp_path: Path, on_ci: str, part: str, outcome: str) -> None:
    test = tmp_path / "test_needs_a_part.py"
    test.write_text(f"from tests.support.tools import required\n\n\ndef test_it():\n    required({part!r})\n")
    environ = {**os.environ, "CI": on_ci, "XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest"]
    said = subprocess.run([*command, str(test)], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert outcome in said.stdout, said.stdout + said.stderr
    assert f"no {part}: `make test-parts` brings it" in said.stdout
