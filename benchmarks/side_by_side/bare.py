"""dbt on the command line, as a person types it: what an orchestrated run is measured against."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.side_by_side.processes import Tree, peak_pss_mb
from benchmarks.side_by_side.projects import Project, write_for_peers
from benchmarks.side_by_side.served import BenchmarkError

BIN = Path(sys.executable).parent


def environment(home: Path) -> dict[str, str]:
    """What the peers' processes are started with; nothing that changes how Python or dbt work."""
    home.mkdir(parents=True, exist_ok=True)
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Bare:
    """One project and its bare command.

    Attributes:
        folder: everything of it.
        project: what it builds.
    """

    folder: Path
    project: Project

    def prepare(self) -> None:
        """Write the project and build it once, which leaves the partial parse that the next builds use."""
        write_for_peers(self.project, self.folder / "project")
        self.build()

    def build(self, *words: str) -> float:
        """Seconds of `dbt build`, from the start of the process to its end.

        Raises:
            BenchmarkError: it failed.
        """
        began = time.monotonic()
        process = self._start(words)
        code = process.wait()
        seconds = time.monotonic() - began
        if code:
            raise BenchmarkError(f"dbt build ended with {code}: {(self.folder / 'said').read_text()[-2000:]}")
        return seconds

    def peak_mb(self) -> float:
        """The most memory that a build has."""
        process = self._start(())
        tree = Tree(psutil.Process(process.pid))
        found: Callable[[], list[psutil.Process]] = tree.processes
        with peak_pss_mb(found, from_nothing=True) as peak:
            process.wait()
        return peak[0]

    def _start(self, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        command = [str(BIN / "dbt"), "build", *words]
        environ = {**environment(self.folder / "home"), "DUCKDB_PATH": str(self.folder / "built.duckdb")}
        with (self.folder / "said").open("wb") as said:
            return subprocess.Popen(
                command, cwd=self.folder / "project", env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
