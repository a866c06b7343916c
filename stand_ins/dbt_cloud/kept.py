"""What outlives the stand-in's process: jobs and runs, as JSON files in its folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from stand_ins.dbt_cloud.records import Job, Run, Status, Step

KEPT_RUNS = 50
_TIMES = ("created_at", "dequeued_at", "started_at", "finished_at")


class Kept:
    """The folder of one stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "runs").mkdir(parents=True, exist_ok=True)

    def run_folder(self, run_id: int) -> Path:
        """Where a run's record and artifacts lie."""
        return self.folder / "runs" / str(run_id)

    def save_jobs(self, jobs: dict[int, Job]) -> None:
        """Write all jobs."""
        _write(self.folder / "jobs.json", [asdict(job) for job in jobs.values()])

    def load_jobs(self) -> dict[int, Job]:
        """The jobs of an earlier process."""
        file = self.folder / "jobs.json"
        records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        return {record["id"]: Job(**_with_times(record)) for record in records}

    def save_run(self, run: Run) -> None:
        """Write one run, and remove what is too old."""
        self.run_folder(run.id).mkdir(exist_ok=True)
        _write(self.run_folder(run.id) / "run.json", {**asdict(run), "job": run.job.id})
        for folder in sorted(self.folder.glob("runs/*"), key=lambda path: int(path.name))[:-KEPT_RUNS]:
            shutil.rmtree(folder, ignore_errors=True)

    def load_runs(self, jobs: dict[int, Job]) -> dict[int, Run]:
        """The runs of an earlier process; one that was under way when it ended has failed."""
        runs: dict[int, Run] = {}
        for file in sorted(self.folder.glob("runs/*/run.json"), key=lambda path: int(path.parent.name)):
            record = _with_times(json.loads(file.read_text(encoding="utf-8")))
            steps = [Step(**_with_status(_with_times(step))) for step in record["steps"]]
            run = Run(**{**_with_status(record), "steps": steps, "job": jobs[record["job"]]})
            if not run.status.is_complete:
                run.status, run.status_message = Status.ERROR, "The stand-in was stopped during this run."
                run.finished_at = run.started_at or run.created_at
            runs[run.id] = run
        return runs


def _with_times(record: dict[str, Any]) -> dict[str, Any]:
    return record | {name: datetime.fromisoformat(record[name]) for name in _TIMES if record.get(name)}


def _with_status(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"status": Status(record["status"])}


def _write(file: Path, content: object) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(content, default=str), encoding="utf-8")
    partial.replace(file)
