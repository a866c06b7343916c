"""Nothing imports upwards, nothing in a circle; what stands below Dagster does not know it."""

from __future__ import annotations

import graphlib
import subprocess
import sys

import pytest

from dagster_apollo.dbt.workspace import repository_root
from tests.support.package_source import PACKAGE, Module, modules_of

# From the ground up; rooms of one line stand beside each other. A module belongs to the longest name that fits.
ROOMS = (
    ("errors", "plans", "silent_database", "interruptions", "run_places"),
    ("settings", "fork"),
    ("environment", "tenant", "topology"),
    ("locations",),
    ("warehouse", "execution"),
    ("projections",),
    ("deploy",),
    ("lineage",),
    ("dbt",),
    ("commands", "ingestion", "dbt_cloud", "notifications"),
    ("runs",),
    ("schedules",),
    ("definitions",),
    ("shares",),
    ("warm",),
    ("access",),
    ("code_host", "host", "elsewhere"),
    ("doctor", "new_tenant", "new_fork"),
    ("cli",),
)
BESIDE = {("warehouse", "execution"), ("execution", "warehouse"), ("doctor", "new_tenant"), ("new_tenant", "doctor")}
WITHOUT_DAGSTER = (
    "errors", "plans", "interruptions", "run_places", "silent_database", "settings", "fork", "environment", "tenant",
    "topology", "locations", "warehouse", "execution", "projections", "deploy", "new_tenant",
)  # fmt: skip
MODULES = modules_of()


def room(module: str) -> str:
    """The room that a module stands in: its first part below the package."""
    return module.split(".")[1]


def level(module: str) -> int:
    return next(number for number, rooms in enumerate(ROOMS) if room(module) in rooms)


OURS = {name: module for name, module in MODULES.items() if name != PACKAGE}


def test_every_module_has_a_room() -> None:
    rooms = {name for line in ROOMS for name in line}

    assert {room(name) for name in OURS} - rooms == set(), "say in ROOMS where it stands"
    assert rooms - {room(name) for name in OURS} == set(), "a room that is empty"


@pytest.mark.parametrize("module", OURS.values(), ids=OURS.keys())
def test_nothing_imports_upwards(module: Module) -> None:
    above = [name for name in module.needs(set(OURS)) if level(name) > level(module.name)]
    beside = [name for name in module.needs(set(OURS)) if (room(module.name), room(name)) in BESIDE]

    assert above + beside == [], f"{module.name} imports what stands above or beside it"


def test_nothing_imports_in_a_circle() -> None:
    graph = {name: module.needs(set(OURS)) for name, module in OURS.items()}

    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
    assert set(order) == set(OURS)


def test_the_package_itself_imports_nothing() -> None:
    assert MODULES[PACKAGE].imports == []


@pytest.mark.parametrize("wanted", WITHOUT_DAGSTER)
def test_what_stands_below_dagster_is_imported_without_it(wanted: str) -> None:
    names = [name for name in OURS if room(name) == wanted]
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "known = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(known & {'dagster', 'dagster_dbt', 'dagster_shared', 'pulumi', 'dbt', 'snowflake', 'duckdb'}))\n"
    )

    ended = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []


def test_the_local_snowflake_and_the_package_do_not_know_each_other() -> None:
    theirs = modules_of("local_snowflake", repository_root() / "local_snowflake")
    assert theirs

    assert [name for name, module in theirs.items() if any(e.module.startswith(PACKAGE) for e in module.imports)] == []
    assert [name for name, module in OURS.items() if any("local_snowflake" in e.module for e in module.imports)] == []
