"""`make bench`: measure everything, or what is named, side by side, and write it down.

    .venv/bin/python -m benchmarks.side_by_side                              # everything: an hour and a half
    .venv/bin/python -m benchmarks.side_by_side launch_to_success_9_vs_bare  # one, with its two sides alone

Exit code 1 when something could not be measured: the rest is written nevertheless.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import datetime
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.side_by_side import fleets, report, runs, saved
from benchmarks.side_by_side.measures import BY_NAME, MEASURES, OF_RUNS, Measure, Reading
from benchmarks.side_by_side.ours import walls

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"
SAMPLES = 5


def main(arguments: Sequence[str]) -> int:
    """Measure and write; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="measures; none: all")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"of what is timed, by default {SAMPLES}")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder to write to, by default benchmarks/")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        sys.stdout.write("".join(f"{measure.name}\n" for measure in MEASURES))
        return 0
    unknown = [name for name in chosen.names if name not in BY_NAME]
    if unknown:
        parser.error(f"no such measure: {', '.join(unknown)}; --list prints them")
    measures = [BY_NAME[name] for name in chosen.names] or list(MEASURES)
    about = _about(chosen.names)
    say("compiling what all sides import")
    _compile()
    with tempfile.TemporaryDirectory(prefix="apollo-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # tenants' users pass through it
        samples, details, problems = take(measures, chosen.samples, Path(folder))
    stamp = {name: about[name] for name in ("machine", "date", "commit")}
    taken = [measure.taken(samples, stamp) for measure in measures if all(samples.get(r) for r in measure.readings)]
    about["load_after"] = round(os.getloadavg()[0], 1)
    results = report.merged(report.read(chosen.into), taken, details, about)
    report.write(chosen.into, results)
    if chosen.into.resolve() == FOLDER:
        page = ROOT / report.PAGE
        page.write_text(report.shown(page.read_text(), results))
    sys.stdout.write(report.table({**results, "measures": taken}) + "\n")
    for problem in problems:
        say(problem)
    return 1 if problems else 0


def take(
    measures: Sequence[Measure], samples: int, folder: Path
) -> tuple[dict[Reading, list[float]], list[Mapping[str, Any]], list[str]]:
    """Take all readings of some measures; one part's failure leaves the others.

    Returns:
        Samples, details, and what went wrong.
    """
    wanted = frozenset(reading for measure in measures for reading in measure.readings)
    of_runs = frozenset(reading for reading in wanted if reading.quantity in OF_RUNS)
    found: dict[Reading, list[float]] = {}
    details: list[Mapping[str, Any]] = []
    problems: list[str] = []
    for size in sorted({reading.size for reading in of_runs}):
        here = frozenset(reading for reading in of_runs if reading.size == size)
        say(f"runs of the project of {size}: {_told(here)}")
        with _noting(problems, f"runs of {size}"):
            runs.measure(size, here, samples, folder / f"runs-{size}", found, details)
    if of_files := frozenset(reading for reading in wanted if reading.quantity == "saved"):
        say(f"files that are saved: {_told(of_files)}")
        with _noting(problems, "saved"):
            saved.measure(of_files, samples, folder / "s", found)
    if of_fleets := wanted - of_runs - of_files:
        say(f"tenants of 100 models: {_told(of_fleets)}")
        with _noting(problems, "fleets"):
            fleets.measure(of_fleets, samples, folder / "fleets", found, details)
    return found, details, problems


@contextlib.contextmanager
def _noting(problems: list[str], what: str) -> Any:
    try:
        yield
    except Exception as error:  # whatever it is, an hour of other measures is kept
        problems.append(f"{what}: {type(error).__name__}: {error}")


def _about(names: Sequence[str]) -> dict[str, Any]:
    """The machine, the moment and the commit."""
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", "--", "dagster_apollo")
    return {
        "machine": f"{os.cpu_count()} cores ({_processor()}), {round(psutil.virtual_memory().total / 1e9)} GB, "
        f"{platform.system()}, Python {platform.python_version()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": f"{commit}{', changed' if changed else ''}",
        "command": f"make bench{f' ONLY={names[0]}' if names else ''}",
        "walls": walls(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def _compile() -> None:
    """Bytecode for everything, as the image has it: a tenant's user may not write any."""
    for folder in (sysconfig.get_paths()["purelib"], str(ROOT / "dagster_apollo")):
        compileall.compile_dir(folder, quiet=2)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _told(readings: frozenset[Reading]) -> str:
    sides = sorted({reading.side for reading in readings})
    return f"{', '.join(sorted({reading.quantity for reading in readings}))} of {', '.join(sides)}"


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # what was started is ended with it
        signal.signal(number, lambda *_: sys.exit(130))
    sys.exit(main(sys.argv[1:]))
