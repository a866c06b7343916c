"""A copy of the repository as a fork's clone is, for a test that writes into it or builds an image of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# What neither an image nor a generated file is made of.
_LEFT_OUT = ("tests", "benchmarks", "local_snowflake", "infra")


def copy_checkout(folder: Path) -> Path:
    """Copy what Git knows of, or would take, to a folder that does not exist yet; without tests."""
    for name in _known_to_git():
        source, target = REPOSITORY / name, folder / name
        if name.split("/")[0] not in _LEFT_OUT and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


def _known_to_git() -> Iterable[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return filter(None, listed.stdout.split("\0"))
