"""The queue of runs, and the one slot in which they are carried out: dbt in a process of its own.

One at a time, as an account with one run slot has it; DuckDB would have it no other way. A run begins by a copy of
the project, which stands for the clone of its repository.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Queue

import yaml

from stand_ins.dbt_cloud.conditions import Conditions
from stand_ins.dbt_cloud.kept import Kept
from stand_ins.dbt_cloud.records import Job, Numbers, Run, Status, Step, now

STOP_TIMEOUT_SECONDS = 20.0
_NOT_CLONED = shutil.ignore_patterns("target", "logs", ".git", "__pycache__", "*.duckdb", "*.duckdb.wal")
# Looked up before any fork: between fork and exec no lock may be waited for.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # prctl(2)


class RunQueue:
    """The account's jobs and runs.

    Args:
        numbers: of the account, the project and the environment.
        project: the folder of the dbt project.
        database: the DuckDB file that it builds in; its stem is the database's name in dbt.
        kept: where jobs, runs and artifacts are kept.
        variables: environment variables of the environment; dbt Cloud wants their names to begin with `DBT_`.
    """

    def __init__(
        self, numbers: Numbers, project: Path, database: Path, kept: Kept, variables: Mapping[str, str]
    ) -> None:
        self.numbers = numbers
        self.conditions = Conditions.model_validate({})
        self.jobs = kept.load_jobs()
        self.runs = kept.load_runs(self.jobs)
        self._project = project
        self._database = database
        self._kept = kept
        self._variables = dict(variables)
        self._lock = threading.Lock()
        self._waiting: Queue[Run] = Queue()
        self._process: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def create_job(self, name: str, steps: Sequence[str], description: str = "", job_type: str = "other") -> Job:
        """A new job."""
        with self._lock:
            number = max(self.jobs, default=1000) + 1
            job = Job(number, name, description, list(steps), job_type, now())
            self.jobs[number] = job
            self._kept.save_jobs(self.jobs)
        return job

    def delete_job(self, job: Job) -> None:
        """Softly, as dbt Cloud does: its runs stay."""
        with self._lock:
            job.deleted = True
            self._kept.save_jobs(self.jobs)

    def trigger(self, job: Job, cause: str, steps_override: Sequence[str] | None) -> Run:
        """Put a run of a job at the end of the queue."""
        with self._lock:
            number = max(self.runs, default=500_000) + 1
            commands = list(steps_override or job.execute_steps)
            override = list(steps_override) if steps_override else None
            run = Run(number, number, job, cause, commands, override, now())
            self.runs[number] = run
            self._kept.save_run(run)
        self._waiting.put(run)
        return run

    def cancel(self, run: Run) -> None:
        """Take a run out of the queue, or interrupt its dbt; what has ended stays as it is."""
        with self._lock:
            if run.status.is_complete:
                return
            run.cancelled = True
            if run.status is Status.QUEUED:
                self._end(run, Status.CANCELLED)
            elif self._process:
                _interrupt(self._process)

    def artifacts_folder(self, run: Run, step: int | None = None) -> Path:
        """What a command of a run left under `target/`; the last one's unless a step's index is given."""
        folder = self._kept.run_folder(run.id) / "artifacts"
        steps = sorted((int(entry.name) for entry in folder.glob("*")), reverse=True)
        return folder / str(step if step is not None else next(iter(steps), 0))

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            process = self._process
            if process:
                _interrupt(process)
        if process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_SECONDS)

    def _work(self) -> None:
        while True:
            run = self._waiting.get()
            while time.time() < run.created_at.timestamp() + self.conditions.queue_seconds:
                time.sleep(0.05)
            with self._lock:
                if run.status.is_complete:
                    continue
                run.status, run.dequeued_at = Status.STARTING, now()
            status = self._carry_out(run)
            with self._lock:
                self._end(run, status)

    def _end(self, run: Run, status: Status) -> None:
        run.status, run.finished_at = status, now()
        for step in run.steps:
            if not step.status.is_complete:
                step.status, step.finished_at = Status.CANCELLED, run.finished_at
        self._kept.save_run(run)

    def _carry_out(self, run: Run) -> Status:
        work = self._kept.folder / "work"
        environment = self._environment(run, work)
        run.started_at, run.status = now(), Status.RUNNING
        self._step(run, "Clone git repository", lambda: self._clone(work))
        self._step(run, "Create profile from connection DuckDB", lambda: self._write_profile(work))
        commands = list(run.commands)
        if (work / "project" / "packages.yml").exists() and not (work / "project" / "dbt_packages").exists():
            commands.insert(0, "dbt deps")
        for command in commands:
            if run.cancelled or run.steps[-1].status is Status.ERROR:
                break
            self._command(run, command, work, environment)
        if run.cancelled:
            return Status.CANCELLED
        failed = any(step.status is Status.ERROR for step in run.steps)
        return Status.ERROR if failed else Status.SUCCESS

    def _step(self, run: Run, name: str, do: object) -> None:
        step = _begin(run, name)
        try:
            step.logs = str(do() if callable(do) else "")
            step.status = Status.SUCCESS
        except (OSError, shutil.Error, ValueError, yaml.YAMLError) as error:
            step.logs, step.status = f"{type(error).__name__}: {error}\n", Status.ERROR
        step.finished_at = now()

    def _clone(self, work: Path) -> str:
        target = work / "project"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self._project, target, ignore=_NOT_CLONED)
        return f"Copied {self._project}\n"

    def _write_profile(self, work: Path) -> str:
        project = yaml.safe_load((work / "project" / "dbt_project.yml").read_text(encoding="utf-8"))
        output = {
            "type": "duckdb",
            "path": str(self._database),
            "schema": "main",
            "threads": 4,
            # What loads the raw data holds a file's lock while it writes.
            "retries": {"connect_attempts": 20, "retryable_exceptions": ["IOException"]},
        }
        profile = {project.get("profile") or "default": {"target": "default", "outputs": {"default": output}}}
        (work / "profiles").mkdir(parents=True, exist_ok=True)
        (work / "profiles" / "profiles.yml").write_text(yaml.safe_dump(profile), encoding="utf-8")
        self._database.parent.mkdir(parents=True, exist_ok=True)
        return "Created the profile\n"

    def _command(self, run: Run, command: str, work: Path, environment: Mapping[str, str]) -> None:
        step = _begin(run, f"Invoke dbt with `{command}`")
        words = shlex.split(command)
        if words[:1] != ["dbt"]:
            step.logs, step.status, step.finished_at = f"{command}: not a dbt command\n", Status.ERROR, now()
            return
        for left in ("manifest.json", "run_results.json", "sources.json", "catalog.json"):
            (work / "target" / left).unlink(missing_ok=True)
        started = time.monotonic()
        with self._lock:
            if run.cancelled:
                return
            process = self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "dbt"), *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=work / "project",
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            step.logs += line.decode("utf-8", "replace")
        code = process.wait()
        while time.monotonic() < started + self.conditions.step_seconds and not run.cancelled:
            time.sleep(0.05)
        self._process = None
        artifacts = self._kept.run_folder(run.id) / "artifacts" / str(step.index)
        if (work / "target").is_dir():
            shutil.copytree(work / "target", artifacts, ignore=shutil.ignore_patterns("*.msgpack"), dirs_exist_ok=True)
        step.finished_at = now()
        step.status = Status.CANCELLED if run.cancelled else Status.ERROR if code else Status.SUCCESS

    def _environment(self, run: Run, work: Path) -> dict[str, str]:
        of_the_run = {
            "DBT_CLOUD_PROJECT_ID": self.numbers.project_id,
            "DBT_CLOUD_ENVIRONMENT_ID": self.numbers.environment_id,
            "DBT_CLOUD_JOB_ID": run.job.id,
            "DBT_CLOUD_RUN_ID": run.id,
            "DBT_CLOUD_RUN_REASON": run.cause,
        }
        return {
            "PATH": os.defpath,
            "HOME": str(work),
            "LANG": "C.UTF-8",
            **self._variables,
            **{name: str(value) for name, value in of_the_run.items()},
            # dbt writes variables of this prefix into the metadata of its artifacts, without it.
            **{f"DBT_ENV_CUSTOM_ENV_{name}": str(value) for name, value in of_the_run.items()},
            "DBT_PROFILES_DIR": str(work / "profiles"),
            "DBT_TARGET_PATH": str(work / "target"),
            "DBT_LOG_PATH": str(work / "logs"),
            "DBT_LOG_LEVEL_FILE": "none",
            "DBT_USE_COLORS": "false",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PYTHONUNBUFFERED": "1",
        }


def _begin(run: Run, name: str) -> Step:
    index = len(run.steps) + 1
    step = Step(run.id * 100 + index, index, name, Status.RUNNING, started_at=now())
    run.steps.append(step)
    return step


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let dbt cancel its queries; one that does not end is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    threading.Thread(target=_kill_later, args=(process,), daemon=True).start()


def _kill_later(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end_with_parent() -> None:
    """A stand-in that is killed takes its dbt along: left alone, dbt would hold the DuckDB file's lock."""
    if _PRCTL:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
