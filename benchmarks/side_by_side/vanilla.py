"""Dagster as its documentation has it: a gRPC server a location, webserver and daemon, Postgres, all else by default.

What is served is `benchmarks/peers/dagster_docs`, once for each project. Nothing of it is patched or tuned.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import yaml

from benchmarks.side_by_side.bare import BIN, environment
from benchmarks.side_by_side.database import Database
from benchmarks.side_by_side.measures import SideName
from benchmarks.side_by_side.processes import Tree
from benchmarks.side_by_side.projects import PEERS, Project, copy_peer, write_for_peers
from benchmarks.side_by_side.served import BOOT_TIMEOUT_SECONDS, BenchmarkError, Webserver
from tests.support.ports import free_port

STOP_TIMEOUT_SECONDS = 60.0
ADDRESS = "127.0.0.1"


class Vanilla:
    """The documented way, for some projects."""

    name: SideName = "vanilla"

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.webserver = Webserver("http://127.0.0.1:0")
        self._projects: Sequence[Project] = ()
        self._freshness = False
        self._trees: dict[str, list[Tree]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def prepare(self, projects: Sequence[Project], *, freshness: bool = False) -> None:
        """See `Side.prepare`."""
        self._projects, self._freshness = projects, freshness
        home = self.folder / "dagster_home"
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(PEERS / "dagster.yaml", home)
        for project in projects:
            folder = self._folder(project)
            if folder.exists():
                continue
            write_for_peers(project, folder / "dbt_project")
            copy_peer(folder)
            self._to_its_end(project, "dagster-dbt", "project", "prepare-and-package", "--file", "project.py")
        self._to_its_end(projects[0], "dagster", "instance", "migrate")

    def boot(self) -> float:
        """See `Side.boot`."""
        began = time.monotonic()
        ports = {project.name: free_port() for project in self._projects}
        for project in self._projects:
            served = "fresh.py" if self._freshness and project is self._projects[0] else "definitions.py"
            words = ("dagster", "api", "grpc", "--host", ADDRESS, "--port", str(ports[project.name]))
            self._start("code", project, *words, "--location-name", project.name, "--python-file", served)
        for port in ports.values():
            self._wait_until_it_listens(port)
        entries = [
            {"grpc_server": {"host": ADDRESS, "port": port, "location_name": name}} for name, port in ports.items()
        ]
        workspace = self.folder / "dagster_home" / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": entries}))
        first, port = self._projects[0], free_port()
        self._start("webserver", first, "dagster-webserver", "-h", ADDRESS, "-p", str(port), "-w", str(workspace))
        self._start("daemon", first, "dagster-daemon", "run", "-w", str(workspace))
        self.webserver = Webserver(f"http://{ADDRESS}:{port}")
        self.webserver.wait_until_loaded(set(ports), self._running)
        return time.monotonic() - began

    def stop(self) -> None:
        """See `Side.stop`."""
        left = self.processes("webserver", "daemon", "code")
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(left, STOP_TIMEOUT_SECONDS)
        for found in alive:
            found.kill()
        for process in self._running.values():
            process.wait()
        self._running, self._trees = {}, {}

    def processes(self, *roles: str) -> list[psutil.Process]:
        """See `Side.processes`."""
        wanted = roles or (*self._trees, "database")
        found = [process for role in wanted for tree in self._trees.get(role, ()) for process in tree.processes()]
        return [*found, *(Tree(self.database.process()).processes() if "database" in wanted else ())]

    def build_job(self, project: Project) -> str:
        """See `Side.build_job`."""
        return "materialize_dbt_models"

    def key(self, project: Project, asset: str) -> list[str]:
        """See `Side.key`."""
        return [asset]

    def _folder(self, project: Project) -> Path:
        return self.folder / "locations" / project.name

    def _environ(self, role: str, project: Project) -> dict[str, str]:
        return {
            **environment(self.folder / "user"),
            "DAGSTER_HOME": str(self.folder / "dagster_home"),
            "DAGSTER_PG_URI": self.database.url(role),
            "DUCKDB_PATH": str(self._folder(project) / "built.duckdb"),
        }

    def _start(self, role: str, project: Project, *words: str) -> None:
        with (self.folder / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / words[0]), *words[1:]],
                cwd=self._folder(project),
                env=self._environ(role, project),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running[f"{role} of {project.name}"] = process
        self._trees.setdefault(role, []).append(Tree(psutil.Process(process.pid)))

    def _to_its_end(self, project: Project, *words: str) -> None:
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            cwd=self._folder(project),
            env=self._environ("webserver", project),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout}{done.stderr}"[-2000:]
            raise BenchmarkError(f"{' '.join(words)} ended with {done.returncode}: {said}")

    def _wait_until_it_listens(self, port: int) -> None:
        end = time.monotonic() + BOOT_TIMEOUT_SECONDS
        while time.monotonic() < end and all(process.poll() is None for process in self._running.values()):
            with socket.socket() as probe:
                if probe.connect_ex((ADDRESS, port)) == 0:
                    return
            time.sleep(0.05)
        log = (self.folder / "code.log").read_text(errors="replace")[-2000:]
        raise BenchmarkError(f"a gRPC server of the documented way does not answer:\n{log}")
