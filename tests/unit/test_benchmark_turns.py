"""In which order the benchmarks start, ask and end the sides; the sides are notebooks here, the processes this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks.side_by_side import fleets, runs
from benchmarks.side_by_side.measures import BY_NAME, Reading, SideName
from benchmarks.side_by_side.projects import Project
from benchmarks.side_by_side.served import BenchmarkError, Launched

AT_ONCE = fleets.Rest(settle_seconds=0, watch_seconds=0.01)


class Notebook:
    """A side that only writes down what it is asked for; it is its own webserver and database."""

    def __init__(self, name: SideName, told: list[str], fails_at: int) -> None:
        self.name, self.told, self.fails_at = name, told, fails_at
        self.webserver = self.database = self
        self._projects: Sequence[Project] = ()

    def note(self, what: str) -> None:
        self.told.append(f"{self.name}: {what}")

    def prepare(self, projects: Sequence[Project], *, freshness: bool = False) -> None:
        self._projects = projects
        self.note(f"prepare {len(projects)}{' with freshness' if freshness else ''}")

    def boot(self) -> float:
        if len(self._projects) == self.fails_at:
            raise BenchmarkError("does not come to serve")
        self.note("boot")
        return float(len(self._projects))

    def stop(self) -> None:
        self.note("stop")

    def processes(self, *roles: str) -> list[psutil.Process]:
        return [psutil.Process()]

    def number_of_assets(self) -> int:
        self.note("rest")
        return 100 * len(self._projects)

    def build_job(self, project: Project) -> str:
        return "all"

    def key(self, project: Project, asset: str) -> list[str]:
        return [asset]

    def launch(self, location: str, job: str, assets: Sequence[Sequence[str]] = ()) -> Launched:
        what = "one" if assets else job
        self.note(f"launch {what}")
        return Launched(what, 0.5, 0.0, 0.1)

    def built(self, run: Launched) -> int:
        return 1 if run.run_id == "one" else len(self._projects[0].assets)

    def opened(self) -> dict[str, int]:
        return {"webserver": 0, "daemon": 0, "code": sum("launch" in line for line in self.told)}

    def event_bytes(self, run_id: str) -> int:
        return 1000

    def waterfall(self, run: Launched) -> dict[str, float]:
        return {"success seen": run.seconds}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []

    @contextmanager
    def served_side(name: SideName, folder: Path) -> Iterator[Notebook]:
        yield Notebook(name, lines, fails_at=200)
        lines.append(f"{name}: gone")

    for module in (fleets, runs):
        monkeypatch.setattr(module, "served_side", served_side)
    monkeypatch.setattr(runs, "PAUSE_SECONDS", 0)
    return lines


def readings(*names: str) -> frozenset[Reading]:
    return frozenset(reading for name in names for reading in BY_NAME[name].readings)


def test_sides_start_in_turns_and_never_both_at_a_time(told: list[str], tmp_path: Path) -> None:
    found: fleets.Found = {}

    fleets.measure(readings("boot_5_vs_vanilla_5"), 2, tmp_path, found, [], AT_ONCE)

    turn = ["vanilla: boot", "vanilla: stop", "ours: boot", "ours: stop"]
    assert [line for line in told if "boot" in line or "stop" in line] == turn * 2
    assert found == {reading: [5.0, 5.0] for reading in readings("boot_5_vs_vanilla_5")}


def test_what_is_only_looked_at_at_rest_is_started_once_at_each_size(told: list[str], tmp_path: Path) -> None:
    found: fleets.Found = {}
    details: list[dict[str, object]] = []

    fleets.measure(readings("pss_50_vs_vanilla_10"), 3, tmp_path, found, details, AT_ONCE)  # type: ignore[arg-type]

    asked = [line for line in told if "gone" not in line]
    of_each = ["boot", "rest", "stop"]
    assert asked[:4] == [f"vanilla: {what}" for what in ("prepare 10", *of_each)]
    assert asked[4:] == [f"ours: {what}" for what in ("prepare 50", *of_each)]
    assert [(detail["side"], detail["tenants"], detail["assets"]) for detail in details] == [
        ("vanilla", 10, 1000),
        ("ours", 50, 5000),
    ]
    assert not any("rest_cpu" in detail for detail in details), "nobody waits for what is not asked for"
    assert all(value > 1 for [value] in found.values())


def test_the_freshness_policy_is_measured_on_sides_of_its_own(told: list[str], tmp_path: Path) -> None:
    wanted = readings("rest_cpu_10_vs_vanilla_10", "rest_cpu_with_freshness_50_vs_vanilla_10")
    found: fleets.Found = {}

    fleets.measure(wanted, 1, tmp_path, found, [], AT_ONCE)

    assert set(found) == wanted
    first_gone = told.index("ours: gone")
    with_policy = [line for line in told if "with freshness" in line]
    assert with_policy == ["ours: prepare 50 with freshness", "vanilla: prepare 10 with freshness"]
    assert all(told.index(line) > first_gone for line in with_policy)


def test_a_fleet_that_does_not_come_up_loses_no_smaller_one(told: list[str], tmp_path: Path) -> None:
    wanted = readings("boot_50_vs_vanilla_5", "boot_200_vs_vanilla_10")
    found: fleets.Found = {}

    with pytest.raises(BenchmarkError):
        fleets.measure(wanted, 1, tmp_path, found, [], AT_ONCE)

    assert set(found) == wanted - {Reading("ours", "boot", 200)}


def test_runs_take_turns_after_one_that_is_not_counted(told: list[str], tmp_path: Path) -> None:
    wanted = readings("launch_to_success_9_vs_vanilla", "connections_9_vs_vanilla", "event_bytes_9_vs_vanilla")
    found: runs.Found = {}
    details: list[dict[str, dict[str, list[object]]]] = []

    runs.measure(9, wanted, 2, tmp_path, found, details)  # type: ignore[arg-type]

    launches = [line for line in told if "launch" in line]
    assert launches == ["vanilla: launch all", "ours: launch all"] * 3
    assert found[Reading("ours", "launch", 9)] == [0.5, 0.5]
    assert found[Reading("ours", "connections", 9)] == [1, 1]
    assert found[Reading("vanilla", "event_bytes", 9)] == [1000, 1000]
    assert {side: len(samples) for side, samples in details[0]["waterfalls"].items()} == {"vanilla": 2, "ours": 2}


def test_a_side_that_no_measure_names_is_not_started(told: list[str], tmp_path: Path) -> None:
    details: list[dict[str, object]] = []

    # What was measured of another project before asks for nothing of this one.
    found: runs.Found = {Reading("ours", "launch", 100): [0.5]}
    runs.measure(1000, frozenset({Reading("ours", "one_model", 1000)}), 1, tmp_path, found, details)  # type: ignore[arg-type]

    assert details[0]["one_model_waterfalls"] == {"ours": [{"success seen": 0.5}]}

    assert told == [
        "ours: prepare 1",
        "ours: boot",
        "ours: launch all",
        "ours: launch one",
        "ours: gone",
    ]


def test_a_run_that_builds_less_than_the_project_is_no_sample(
    told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Notebook, "built", lambda self, run: 3)

    with pytest.raises(BenchmarkError, match="3 assets of 6"):
        runs.measure(9, frozenset({Reading("ours", "launch", 9)}), 1, tmp_path, {}, [])
