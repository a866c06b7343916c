"""The images of tenants hold what code locations run: the versions of the repository's lock, with their hashes."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root

ROOT = repository_root()
LOCKS = sorted((ROOT / "tenants").glob("*/requirements.txt"))


def pinned(file: Path) -> dict[str, set[str]]:
    """The versions of a lock file, by package: several, where another Python gets another one."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", file.read_text("utf-8"), re.MULTILINE):
        found[name].add(version)
    return found


def test_there_are_images_to_hold_to_this() -> None:
    assert LOCKS


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_versions_are_those_of_the_repository(lock: Path) -> None:
    repository = pinned(ROOT / "requirements.txt")
    differing = {
        name: f"{versions}, here {repository.get(name)}"
        for name, versions in pinned(lock).items()
        if not versions <= repository.get(name, set())
    }
    assert differing == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_a_lock_has_all_that_is_asked_for_and_the_image_installs_it_by_its_hashes(lock: Path) -> None:
    asked = re.findall(r"^([A-Za-z0-9._-]+)", (lock.parent / "requirements.in").read_text("utf-8"), re.MULTILINE)

    assert set(asked) <= set(pinned(lock))
    assert lock.read_text(encoding="utf-8").count("--hash=") >= len(pinned(lock))
    assert "--require-hashes" in (lock.parent / "Dockerfile").read_text(encoding="utf-8")
