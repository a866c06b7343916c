"""A tenant's warm process for a test, as a program of its own: a process with threads, as pytest's, must not fork.

The program warms the tenant that its environment names, then forks runs and waits for them as it is told on standard
input, a line of JSON each. `WarmTenant` is what a test holds of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import dagster as dg
import psutil

from dagster_apollo.dbt.workspace import Places, open_workspace, repository_root
from tests.support.dagster_origins import start_run_args

_SECONDS = 120.0


class WarmTenant:
    """One warm process, as long as the block lasts.

    Args:
        environ: what the tenant's code location is started with.
        log: where it and its runs print to.
    """

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        self._location = environ["APOLLO_TENANT"]
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm_tenant"],
                env={
                    **environ,
                    "PYTHONPATH": f"{repository_root()}{os.pathsep}{repository_root() / 'local_snowflake'}",
                },
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self.ready = self._hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)

    def start(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
        """Have a run forked that is recorded there; its process id."""
        told = self._ask(fork=start_run_args(instance, run, self._location), run_id=run.run_id)
        assert told["said"]["success"], told
        return int(told["pid"])

    def ended(self, run: dg.DagsterRun) -> int:
        """Wait for a run's end; its exit code."""
        return int(self._ask(reap=run.run_id)["code"])

    def run(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
        """Start a run and wait for it; its exit code."""
        self.start(instance, run)
        return self.ended(run)

    def state(self) -> Mapping[str, Any]:
        """How many threads and open files it has, and what its children are called."""
        return self._ask(state=True)

    def _ask(self, **asked: Any) -> Mapping[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._hear()

    def _hear(self) -> Mapping[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the warm process ended:\n{self.log.read_text(errors='replace')[-4000:]}"
        told: Mapping[str, Any] = json.loads(line)
        return told


def _serve() -> None:
    from dagster_apollo.code_host import code_location
    from dagster_apollo.warm.dbt_internals import forking_locks
    from dagster_apollo.warm.forking import fork
    from dagster_apollo.warm.run_process import execute
    from dagster_apollo.warm.runs import ForkedRun
    from dagster_apollo.warm.warming import warm_up

    asked, told = sys.stdin, os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what runs print goes to the log
    environ = dict(os.environ)
    with forking_locks():
        loaded = code_location.load(environ).get_repository_def()
    workspace = open_workspace(environ, Places.find(environ, repository_root()), environ["APOLLO_TENANT"])
    warm = warm_up(workspace, loaded, ("dagster_apollo.code_host.code_location", "location"))
    runs: dict[str, ForkedRun] = {}

    def tell(**content: Any) -> None:
        told.write(json.dumps(content) + "\n")

    tell(macros=len(warm.manifest.macros) if warm.manifest else None)
    for line in asked:
        wanted = json.loads(line)
        if "fork" in wanted:
            run_id, arguments = wanted["run_id"], wanted["fork"]
            said_from, said_to = os.pipe()

            def child(said_from: int = said_from, said_to: int = said_to, arguments: str = arguments) -> int:
                os.close(said_from)

                def say(answer: str) -> None:
                    os.write(said_to, f"{answer}\n".encode())
                    os.close(said_to)

                return execute(warm, arguments, say)

            runs[run_id] = ForkedRun(fork(child), run_id, warm.workspace.runs_dir)
            os.close(said_to)
            with os.fdopen(said_from) as said:
                # A line: its end would be the run's, since what the run forks holds it too.
                tell(pid=runs[run_id].pid, said=json.loads(said.readline()))
        elif "reap" in wanted:
            run, deadline = runs.pop(wanted["reap"]), time.monotonic() + _SECONDS
            while (code := run.reap()) is None:
                assert time.monotonic() < deadline, "the run does not end"
                time.sleep(0.01)
            tell(code=code)
        else:
            here = psutil.Process()
            children = [" ".join(child.cmdline()) for child in here.children(recursive=True)]
            tell(threads=here.num_threads(), files=here.num_fds(), children=children)
    os._exit(0)


if __name__ == "__main__":
    _serve()
