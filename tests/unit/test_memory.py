"""How many runs there are at once follows from the memory that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.host.memory import MOST_RUNS, capacity_here
from dagster_apollo.settings import read


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine of 8 GB, as the kernel tells of it."""
    (tmp_path / "meminfo").write_text(f"MemTotal:       {8 << 20} kB\nMemFree:        1 kB\n")
    return tmp_path


def runs(machine: Path, **environ: str) -> tuple[int, str]:
    found = capacity_here(read(environ), machine / "cgroup", machine)
    return found.runs, found.why


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes", "memory.limit_in_bytes"])
def test_the_limit_of_the_container_counts(machine: Path, file: str) -> None:
    limit = machine / "cgroup" / file
    limit.parent.mkdir(parents=True)
    limit.write_text(f"{2300 << 20}\n")

    found, why = runs(machine, APOLLO_RUN_MEMORY_MB="500")

    assert found == 4
    assert "the container's limit is 2300 MB" in why


@pytest.mark.parametrize("text", ["max", "9223372036854771712"])
def test_without_a_limit_it_is_the_machines_memory(machine: Path, text: str) -> None:
    (machine / "cgroup").mkdir()
    (machine / "cgroup" / "memory.max").write_text(text)

    found, why = runs(machine, APOLLO_RUN_MEMORY_MB="1000")

    assert found == 7
    assert "the machine has 8192 MB" in why


def test_there_is_always_one_and_what_is_missing_is_said(machine: Path) -> None:
    found, why = runs(machine, APOLLO_RUN_MEMORY_MB="9000")

    assert found == 1
    assert "give it more memory" in why


def test_memory_alone_does_not_make_more_runs_than_a_database_takes(machine: Path) -> None:
    assert runs(machine, APOLLO_RUN_MEMORY_MB="50")[0] == MOST_RUNS


def test_a_person_may_say_otherwise(machine: Path) -> None:
    assert runs(machine, APOLLO_MAX_RUNS="42") == (42, "42 runs at once, as APOLLO_MAX_RUNS says")
