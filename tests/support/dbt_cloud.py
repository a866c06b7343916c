"""dbt Cloud for a test: the stand-in in a process of its own, over a project and a DuckDB file of the test's."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from dagster_dbt.cloud_v2.client import DbtCloudWorkspaceClient

from dagster_apollo.dbt.workspace import repository_root
from tests.support.ports import free_port
from tests.support.served import served

ACCOUNT_ID, PROJECT_ID, ENVIRONMENT_ID = 7, 8, 9
# What a `tenant.yaml` says of it.
NUMBERS = f"{{account_id: {ACCOUNT_ID}, project_id: {PROJECT_ID}, environment_id: {ENVIRONMENT_ID}, poll_seconds: 1}}"
RUN_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class DbtCloud:
    """A running stand-in."""

    url: str
    token: str = field(repr=False)
    database: Path
    process: subprocess.Popen[bytes]

    def settings(self, prefix: str = "") -> dict[str, str]:
        """What a tenant is given, under the plain names or with a tenant's prefix."""
        return {f"{prefix}DBT_CLOUD_TOKEN": self.token, f"{prefix}DBT_CLOUD_ACCESS_URL": self.url}

    def client(self, **changes: Any) -> DbtCloudWorkspaceClient:
        """dagster-dbt's own client; it asks once."""
        fields = {
            "account_id": ACCOUNT_ID,
            "token": self.token,
            "access_url": self.url,
            "request_max_retries": 0,
            "request_retry_delay": 0.0,
            "request_timeout": 15,
        }
        return DbtCloudWorkspaceClient(**{**fields, **changes})

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Any request below the account, with the token."""
        headers = {"Authorization": f"Token {self.token}", **request.pop("headers", {})}
        url = path if path.startswith("http") else f"{self.url}/api/v2/accounts/{ACCOUNT_ID}/{path}"
        return httpx.request(method, url, headers=headers, trust_env=False, timeout=60, **request)

    def be(self, **conditions: Any) -> None:
        """Be slow or broken in these ways, or well again without any."""
        assert self.ask("POST", f"{self.url}/_conditions", json=conditions).status_code == 200

    def jobs(self) -> dict[str, int]:
        """The numbers of its jobs by name."""
        return {job["name"]: job["id"] for job in self.ask("GET", "jobs/").json()["data"]}

    def runs(self, **asked: Any) -> list[dict[str, Any]]:
        """Its runs, the oldest first, with what triggered them."""
        answer = self.ask("GET", "runs/", params={"include_related": "trigger,run_steps", **asked})
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def run(self, job: str = "Daily build", steps: Sequence[str] | None = None) -> dict[str, Any]:
        """Trigger a job as somebody in dbt Cloud does, and wait for the run's end."""
        started = self.ask("POST", f"jobs/{self.jobs()[job]}/run/", json={"cause": "By hand", "steps_override": steps})
        return self.ended(started.json()["data"]["id"])

    def ended(self, run_id: int) -> dict[str, Any]:
        """A run, once it has ended."""
        until = time.monotonic() + RUN_TIMEOUT_SECONDS
        while time.monotonic() < until:
            run: dict[str, Any] = self.ask("GET", f"runs/{run_id}/?include_related=run_steps").json()["data"]
            if run["is_complete"]:
                return run
            time.sleep(0.1)
        raise AssertionError(f"run {run_id} has not ended: {run}")

    def kill(self) -> None:
        """End it as a machine that goes away: connections are refused from then on."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextmanager
def running_dbt_cloud(
    project: Path,
    folder: Path,
    *,
    database: Path | None = None,
    port: int | None = None,
    jobs: Sequence[str] = (),
    token: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[DbtCloud]:
    """Run the stand-in as long as the block lasts.

    Args:
        project: the folder of the dbt project.
        folder: for its state and log; the same folder again brings its jobs and runs back.
        database: the DuckDB file that it builds in; unset: one in the folder.
        port: where it listens; unset: a free one.
        jobs: `NAME=COMMAND` of its jobs; unset: `Daily build`.
        token: what it takes; unset: a new one.
        variables: environment variables for the project.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, token = port or free_port(), token or secrets.token_hex(16)
    database = database or folder / "cloud.duckdb"
    numbers = {"account": ACCOUNT_ID, "project": PROJECT_ID, "environment": ENVIRONMENT_ID}
    command = [sys.executable, "-m", "stand_ins.dbt_cloud", "--port", str(port), "--project", str(project)]
    command += ["--database", str(database), "--folder", str(folder / "kept")]
    command += [word for name, number in numbers.items() for word in (f"--{name}-id", str(number))]
    command += [word for job in jobs for word in ("--job", job)]
    command += [word for name in variables or {} for word in ("--variable", name)]
    environ = {"STAND_IN_TOKEN": token, "PYTHONPATH": str(repository_root()), **(variables or {})}
    url = f"http://127.0.0.1:{port}"
    with served(command, environ, f"{url}/_ready", folder / "log.txt", 204) as process:
        yield DbtCloud(url, token, database, process)
