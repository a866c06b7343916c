"""The benchmarks measure what they say: the generated projects, processes, connections, and one measure for real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import psycopg2
import pytest

from benchmarks.side_by_side.bare import BIN, Bare, environment
from benchmarks.side_by_side.database import running_database
from benchmarks.side_by_side.processes import Tree, peak_pss_mb, processor_seconds
from benchmarks.side_by_side.projects import Project, write_for_peers
from tests.support.stack import REPOSITORY
from tests.support.webserver import wait_until

HOLDS_MEMORY = "kept = bytearray(b'x') * 60_000_000; print('holds', flush=True); input()"
# A child that works for so long by its own processor clock, waited for by a parent that then waits for its input.
WORKS = "import time\nwhile time.process_time() < 0.5: pass"
HAS_WORKED = (
    f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORKS!r}]); print('done', flush=True); input()"
)
SMALL = ("launch_to_success_9_vs_bare", "launch_to_success_9_vs_vanilla", "connections_9_vs_vanilla")


@pytest.mark.parametrize(
    ("size", "nodes"),
    [(9, {"seed": 1, "model": 5, "test": 3}), (100, {"model": 100, "test": 20})],
    ids=["nine nodes", "100 models"],
)
def test_a_generated_project_has_the_nodes_that_it_is_named_for(
    tmp_path: Path, size: int, nodes: dict[str, int]
) -> None:
    project = Project("generated_one", size)
    folder = write_for_peers(project, tmp_path / "project")
    environ = {**environment(tmp_path / "home"), "DUCKDB_PATH": str(tmp_path / "built.duckdb")}

    subprocess.run([str(BIN / "dbt"), "parse"], cwd=folder, env=environ, check=True, capture_output=True)

    found = json.loads((folder / "target/manifest.json").read_text())["nodes"].values()
    assert Counter(node["resource_type"] for node in found) == nodes
    assert {node["name"] for node in found if node["resource_type"] != "test"} == set(project.assets)
    models = {project.one_model(turn) for turn in range(5)}
    assert len(models) == (1 if size == 9 else 5)
    tested = {name for node in found if node["resource_type"] == "test" for name in node["depends_on"]["nodes"]}
    for one in (node for node in found if node["name"] in models):
        assert one["depends_on"]["nodes"]
        assert one["unique_id"] in tested


def test_a_model_with_its_test_is_built_alone_by_the_bare_command(tmp_path: Path) -> None:
    bare = Bare(tmp_path, Project("generated_one", 9))
    bare.prepare()

    bare.build("--select", bare.project.one_model(0))

    results = json.loads((tmp_path / "project/target/run_results.json").read_text())["results"]
    assert {result["unique_id"].split(".")[0] for result in results} == {"model", "test"}
    assert len(results) == 2


def test_the_peak_is_what_processes_came_to_use_beyond_what_they_used() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as before:
        trees = [Tree(psutil.Process(before.pid))]
        with peak_pss_mb(lambda: [process for tree in trees for process in tree.processes()]) as peak:
            child = subprocess.Popen(
                [sys.executable, "-c", HOLDS_MEMORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert child.stdout is not None
            assert child.stdout.readline() == b"holds\n"
            trees.append(Tree(psutil.Process(child.pid)))
            wait_until(lambda: peak[0] > 60, "the peak is seen")
            child.communicate(b"\n")
        before.communicate(b"\n")
    assert 60 < peak[0] < 120


def test_processor_time_of_a_child_that_has_ended_is_its_parents() -> None:
    process = subprocess.Popen([sys.executable, "-c", HAS_WORKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"

    used = processor_seconds(Tree(psutil.Process(process.pid)).processes())

    process.communicate(b"\n")
    assert used >= 0.5


def test_connections_are_counted_by_the_role_that_opened_them() -> None:
    with running_database() as database:
        before = database.opened()
        for role in ("code", "code", "daemon"):
            psycopg2.connect(database.url(role)).close()

        after = database.opened()

    assert {role: after[role] - before[role] for role in after} == {"webserver": 0, "daemon": 1, "code": 2}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_measure_is_taken_for_real_of_all_three_sides(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.side_by_side", "--samples", "1", "--into", str(tmp_path), *SMALL]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            told, complaints = process.communicate()
        finally:
            process.terminate()  # in a test that is given up: it ends what it has started
    assert process.returncode == 0, told + complaints

    results = json.loads((tmp_path / "results.json").read_text())
    entries = {entry["name"]: entry for entry in results["measures"]}
    assert list(entries) == list(SMALL)
    for name, peer in zip(SMALL[:2], ("bare", "vanilla"), strict=True):
        entry = entries[name]
        assert entry["ours"] > 0
        assert entry["ratio"] == entry["ours"] / entry["peers"][peer]
        assert {side: len(samples) for side, samples in entry["samples"].items()} == {"ours": 1, peer: 1}
    [runs] = results["details"]
    for side in ("ours", "vanilla"):
        [waterfall] = runs["waterfalls"][side]
        stages = ("run created", "run started", "step started", "first asset", "last asset", "run ended")
        reached = [waterfall[stage] for stage in stages]
        assert reached == sorted(reached)
        assert waterfall["run ended"] <= waterfall["success seen"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.json", "results.md", "results.svg"]
    assert "launch_to_success_9_vs_vanilla" in told


def test_a_name_that_is_no_measure_is_refused_before_anything_is_started() -> None:
    command = [sys.executable, "-m", "benchmarks.side_by_side", "launch_to_sucess"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "launch_to_sucess" in done.stderr


def test_what_is_told_to_end_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.side_by_side", "--into", str(tmp_path), "pss_1_vs_vanilla_1"]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        started = Tree(psutil.Process(process.pid))
        wait_until(lambda: any(found.name() == "postgres" for found in started.processes()), "a database is started")
        process.terminate()
    assert process.returncode == 130
    wait_until(lambda: not started.processes(), "everything that it started has ended")
    assert list(tmp_path.iterdir()) == []
