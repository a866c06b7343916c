"""The lock files are what pyproject.toml resolves to, name no registry, and hold a hash of every file."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dagster_apollo.dbt.workspace import repository_root
from tests.support.parts import MissingPart

ROOT = repository_root()
LOCKS = ("requirements.txt", "requirements-dev.txt")
_PIN = re.compile(r"(?P<name>[a-z0-9-]+)(\[[a-z0-9,-]+\])?==(?P<version>[A-Za-z0-9.+!]+)( ; [^\\]+)? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def pins(name: str) -> dict[str, set[str]]:
    """The versions of each package; more than one where platforms differ."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if pin := _PIN.fullmatch(line):
            found.setdefault(pin["name"], set()).add(pin["version"])
    return found


def test_the_lock_files_are_what_pyproject_resolves_to() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/lock.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    if checked.returncode == 2:
        raise MissingPart(f"a package registry, which uv could not ask: {checked.stderr.strip()[-300:]}")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_a_pin_with_hashes(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()

    for number, (line, following) in enumerate(zip(lines, [*lines[1:], ""], strict=True), 1):
        assert _PIN.fullmatch(line) or _HASH.fullmatch(line), f"{name}:{number}: {line}"
        assert line.endswith("\\") == bool(_HASH.fullmatch(following)), f"{name}:{number}: {line}"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_registry_and_no_file(name: str) -> None:
    text = (ROOT / name).read_text()

    for forbidden in ("://", "--index", "--find-links", "--trusted-host", " @ ", "file:", "-e "):
        assert forbidden not in text


def test_tests_run_on_what_production_runs() -> None:
    production, development = pins("requirements.txt"), pins("requirements-dev.txt")

    assert {name: development.get(name) for name in production} == production


def test_everything_that_is_asked_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = ((LOCKS[0], project["dependencies"]), (LOCKS[1], project["optional-dependencies"]["dev"]))

    for lock, wanted in groups:
        locked = pins(lock)
        for requirement in map(Requirement, wanted):
            versions = locked.get(canonicalize_name(requirement.name), set())
            assert versions, f"{requirement} is not in {lock}"
            assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_what_the_package_imports_is_asked_for_by_name() -> None:
    """A dependency of a dependency may go with its next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}

    assert {name: files for name, files in imported_distributions().items() if name not in wanted} == {}


def imported_distributions() -> dict[str, list[str]]:
    """The distributions whose modules the package imports, with the modules that do."""
    from importlib.metadata import packages_distributions

    from tests.support.package_source import PACKAGE, modules_of

    by_module = packages_distributions()
    # Namespaces that several distributions share: which of them is meant follows from the second part.
    by_module |= {"snowflake": ["dbt-snowflake"], "dbt": ["dbt-core"], "google": ["protobuf"]}
    found: dict[str, list[str]] = {}
    for name, module in modules_of().items():
        for entry in module.imports:
            top = entry.module.partition(".")[0]
            if top in sys.stdlib_module_names or top == PACKAGE or top not in by_module:
                continue
            found.setdefault(canonicalize_name(by_module[top][0]), []).append(name)
    return found
