"""Runs of one project, by every side that is asked for: how long, how much memory, what the database is asked.

The sides take turns, so that what else the machine does meets all of them. Memory is read in runs of its own: reading
it takes time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.bare import Bare
from benchmarks.side_by_side.measures import Quantity, Reading, SideName
from benchmarks.side_by_side.processes import peak_pss_mb
from benchmarks.side_by_side.projects import Project
from benchmarks.side_by_side.served import BenchmarkError, Launched, Side
from benchmarks.side_by_side.sides import served_side

# Between two runs: what the last one leaves to be done, it does.
PAUSE_SECONDS = 2.0
MEMORY_SAMPLES = 3
_SERVED: tuple[SideName, ...] = ("vanilla", "ours")
_BARE_WORDS: Mapping[Quantity, Callable[[Project, int], list[str]]] = {
    "launch": lambda project, turn: [],
    "one_model": lambda project, turn: ["--select", project.one_model(turn)],
}

Found = dict[Reading, list[float]]


def measure(
    size: int,
    wanted: frozenset[Reading],
    samples: int,
    folder: Path,
    found: Found,
    details: list[Mapping[str, Any]],
) -> None:
    """Take the readings of one size of project.

    Args:
        size: of the project.
        wanted: what is to be read; nothing else is started.
        samples: how many of what is timed.
        folder: everything is below it.
        found: where the samples of each reading go, as they are taken.
        details: where it goes what the whole builds of each served side show: the seconds of the first, the waterfalls,
            the connections that each role opened; and the waterfalls of one model.

    Raises:
        BenchmarkError: a build failed, or built something else than the project.
    """
    project = Project(f"p{size}", size)
    found |= {reading: [] for reading in wanted}
    sides = {reading.side for reading in wanted}
    kept = ("first_run_seconds", "waterfalls", "one_model_waterfalls", "connections")
    detail: dict[str, Any] = {"project": size, **{name: {} for name in kept}}
    details.append(detail)
    with ExitStack() as stack:
        bare = Bare(folder / "bare", project)
        if "bare" in sides:
            bare.prepare()
        served = [stack.enter_context(_booted(side, folder, project)) for side in _SERVED if side in sides]
        for side in served:
            detail["first_run_seconds"][side.name] = _first_run(side, project)
        for turn in range(samples):
            if "bare" in sides:
                _take_bare_turn(bare, turn, found)
            for side in served:
                _take_turn(side, project, turn, found, detail)
        for _ in range(min(samples, MEMORY_SAMPLES)):
            if (reading := Reading("bare", "run_memory", size)) in wanted:
                found[reading].append(bare.peak_mb())
            for side in served:
                if (reading := Reading(side.name, "run_memory", size)) in wanted:
                    with peak_pss_mb(partial(side.processes, "code")) as peak:
                        _build(side, project)
                    found[reading].append(peak[0])
                    time.sleep(PAUSE_SECONDS)


@contextmanager
def _booted(name: SideName, folder: Path, project: Project) -> Iterator[Side]:
    with served_side(name, folder) as side:
        side.prepare([project])
        side.boot()
        yield side


def _first_run(side: Side, project: Project) -> float:
    """Build once what the next builds replace, and see that it is all of it; the seconds."""
    run = _build(side, project)
    if (built := side.webserver.built(run)) != len(project.assets):
        raise BenchmarkError(f"{side.name} built {built} assets of {len(project.assets)}")
    time.sleep(PAUSE_SECONDS)
    return run.seconds


def _take_bare_turn(bare: Bare, turn: int, found: Found) -> None:
    """One build of each kind that is asked for."""
    size = bare.project.size
    for quantity, words in _BARE_WORDS.items():
        if (reading := Reading("bare", quantity, size)) in found:
            found[reading].append(bare.build(*words(bare.project, turn)))
            time.sleep(PAUSE_SECONDS)


def _take_turn(
    side: Side, project: Project, turn: int, found: Mapping[Reading, list[float]], detail: Mapping[str, Any]
) -> None:
    """One run of each kind that is asked for."""

    def note(quantity: Quantity, value: float) -> None:
        if (reading := Reading(side.name, quantity, project.size)) in found:
            found[reading].append(value)

    of_this = (side.name, project.size)
    kinds = {reading.quantity for reading in found if (reading.side, reading.size) == of_this}
    if kinds & {"launch", "connections", "event_bytes"}:
        before = side.database.opened()
        run = _build(side, project)
        time.sleep(PAUSE_SECONDS)
        opened = {role: count - before[role] for role, count in side.database.opened().items()}
        note("launch", run.seconds)
        note("connections", opened["code"])
        detail["connections"].setdefault(side.name, []).append(opened)
        note("event_bytes", side.database.event_bytes(run.run_id))
        detail["waterfalls"].setdefault(side.name, []).append(side.webserver.waterfall(run))
    if "one_model" in kinds:
        key = side.key(project, project.one_model(turn))
        run = side.webserver.launch(project.name, "__ASSET_JOB", [key])
        if (built := side.webserver.built(run)) != 1:
            raise BenchmarkError(f"{side.name} built {built} assets where one was asked for")
        note("one_model", run.seconds)
        detail["one_model_waterfalls"].setdefault(side.name, []).append(side.webserver.waterfall(run))
        time.sleep(PAUSE_SECONDS)


def _build(side: Side, project: Project) -> Launched:
    return side.webserver.launch(project.name, side.build_job(project))
