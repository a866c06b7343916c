"""Many runs on one code host, one after the other: afterwards it is as it was, in processes, open files, memory, disk.

What it is compared with is the host after some runs, when all that is made for the first of them is made.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import Postgres
from tests.support.tenants import write_tenant
from tests.support.walled import WalledRoles, walled_roles

pytestmark = pytest.mark.slow

TENANT = "manyruns"
MODELS = {
    "first.sql": "{{ config(materialized='table') }} select 1 as id",
    "second.sql": "{{ config(materialized='incremental') }} select max(id) + 1 as id from {{ ref('first') }}",
    "third.sql": "select * from {{ ref('second') }}",
    "models.yml": "models: [{name: first, columns: [{name: id, data_tests: [not_null, unique]}]}]",
}
WARMING_RUNS = 5
# What an allocator keeps of memory that was used once, in all processes together; a leak of a run would pass it.
MOST_GROWTH = 1.05
TENANT_YAML = "warehouse: duckdb\nschedule: null\n"


@dataclass(frozen=True)
class Left:
    """What there is of a code host at rest.

    Attributes:
        processes: each by its name and number.
        descriptors: how many files each has open.
        files: below its folders, and of its tenant's anywhere in /tmp.
        pss: its processes' memory in MB, what they share counted once.
    """

    processes: dict[str, int]
    descriptors: dict[str, int]
    files: frozenset[str]
    pss: dict[str, float]

    @property
    def memory(self) -> float:
        return sum(self.pss.values())

    def __str__(self) -> str:
        each = ", ".join(
            f"{name} {size:.0f} MB with {self.descriptors[name]} open files" for name, size in self.pss.items()
        )
        return f"{self.memory:.0f} MB in all: {each}; {len(self.files)} files"


@pytest.fixture
def roles(folder: Path, postgres: Postgres) -> Iterator[WalledRoles]:
    # Nobody is let go meanwhile: it is the same processes that are looked at.
    with walled_roles(folder, postgres.new_database(), {"APOLLO_IDLE_SECONDS": "86400"}) as made:
        write_tenant(made.tenants_dir, TENANT, MODELS, TENANT_YAML)
        made.begin()
        yield made


def at_rest(roles: WalledRoles) -> Left:
    """The host once nothing of a run is there any more."""
    first = roles.process("code")
    processes = {}

    def is_at_rest() -> bool:
        processes.clear()
        processes.update({process.name(): process.pid for process in (first, *first.children(recursive=True))})
        return not any(name.startswith("run:") for name in processes)

    roles.wait_until(is_at_rest, "no process of a run is left")
    own = roles.environ("code")
    places = [own["TMPDIR"], own["APOLLO_STATE_DIR"], own["DAGSTER_HOME"]]
    found = roles.root.do("find", *places, "!", "-type", "d")
    user = psutil.Process(processes[TENANT]).uids().effective
    if user != 0 and roles.is_walled:
        # Others' folders may go while this looks into them.
        words = ["find", "/tmp", "-path", str(roles.folder), "-prune", "-o", "-user", str(user), "-print"]
        found += roles.root.run(*words).stdout
    return Left(
        dict(processes),
        {name: len(roles.root.do("ls", f"/proc/{pid}/fd").split()) for name, pid in processes.items()},
        frozenset(found.splitlines()),
        {name: pss_of(roles, pid) for name, pid in processes.items()},
    )


def pss_of(roles: WalledRoles, pid: int) -> float:
    """In MB, what is shared divided among those who share it."""
    lines = roles.root.do("cat", f"/proc/{pid}/smaps_rollup").splitlines()
    [size] = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    return size / 1024


@pytest.mark.parametrize(
    "runs", [20, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])], ids=lambda runs: f"{runs}"
)
def test_nothing_is_left_of_them(roles: WalledRoles, runs: int) -> None:
    def build(times: int) -> Counter[str]:
        ends = []
        for _ in range(times):
            run_id = roles.webserver.launch(TENANT, f"{TENANT}__build")
            ends.append(roles.webserver.finish(run_id)["status"])
        return Counter(ends)

    build(WARMING_RUNS)
    before = at_rest(roles)
    ended = build(runs)
    after = at_rest(roles)
    sys.stdout.write(f"before {runs} runs: {before}\nafter: {after}\n")

    assert ended == {"SUCCESS": runs}
    assert after.processes == before.processes
    assert not after.files - before.files
    assert after.descriptors == before.descriptors
    assert after.memory < before.memory * MOST_GROWTH
