"""One-off jobs that are processes of this machine: the command is run with the variables that the service had then."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.fake_render.scripted import Scripted
from tests.support.fake_render.world import FakeService, World
from tests.support.stack import BIN


@dataclass
class Processes(Scripted):
    """A backend of processes; deploys go as they are told to.

    Attributes:
        folder: what the jobs write, each in a folder of its own, since no disk of the service is there.
        started: the process of each job, by its id.
    """

    folder: Path
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._watchers: list[threading.Thread] = []

    def start_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        running = service.running
        assert running is not None
        program, *words = shlex.split(job["startCommand"])
        own = self.folder / job["id"]
        (own / "tmp").mkdir(parents=True)
        for folder in (own, own / "tmp"):
            folder.chmod(0o1777)  # as those of a container are
        with (own / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(BIN / program), *words],
                env=_environ(running.environment, own),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started[job["id"]] = process
        world.set_job_status(job, "running")
        watcher = threading.Thread(target=lambda: _watch(world, job, process), daemon=True)
        self._watchers.append(watcher)
        watcher.start()

    def job_asked(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        pass

    def end_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        if self.started[job["id"]].poll() is None:
            self.started[job["id"]].send_signal(signal.SIGTERM)

    def said(self, job_id: str) -> str:
        """What a job has printed."""
        return (self.folder / job_id / "log").read_text(errors="replace")

    def kill(self, job_id: str) -> None:
        """End all of a job at once, as a machine that fails."""
        process = self.started[job_id]
        if process.poll() is None:
            first = psutil.Process(process.pid)
            for each in (first, *first.children(recursive=True)):
                each.kill()
        process.wait()

    def close(self) -> None:
        """Leave nothing behind."""
        for job_id in self.started:
            self.kill(job_id)
        for watcher in self._watchers:
            watcher.join()


def _environ(variables: Mapping[str, str], own: Path) -> dict[str, str]:
    placed = {"APOLLO_STATE_DIR": str(own / "state"), "TMPDIR": str(own / "tmp"), "DAGSTER_HOME": str(own / "dagster")}
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables, **placed}


def _watch(world: World, job: dict[str, Any], process: subprocess.Popen[bytes]) -> None:
    code = process.wait()
    world.set_job_status(job, "failed" if code else "succeeded")
