"""Runs GitHub workflows on this machine, with `act` in its host mode: no container, no network, no runner of GitHub.

Actions of others are replaced by folders that the caller names. Not modelled by act, so to be asserted on the text of
the workflow: branch and path filters, concurrency, environments, permissions, id tokens, services. A job whose
`runs-on` it does not know is left out without an error: assert which jobs ran.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.tools import required

RUNNERS = ("ubuntu-latest", "ubuntu-24.04")
_NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Job:
    """One job, or one of a matrix.

    Attributes:
        name: its id in the workflow.
        matrix: its values of the matrix; empty without one.
        succeeded: how it ended.
        outputs: what its steps wrote to GITHUB_OUTPUT.
        summary: what they wrote to GITHUB_STEP_SUMMARY.
    """

    name: str
    matrix: Mapping[str, Any]
    succeeded: bool
    outputs: Mapping[str, str]
    summary: str


@dataclass(frozen=True)
class WorkflowRun:
    """What an event set off.

    Attributes:
        succeeded: act's own verdict.
        jobs: those that ran, in the order in which they ended; one that was skipped is not among them.
        said: everything that act and the steps printed.
    """

    succeeded: bool
    jobs: tuple[Job, ...]
    said: str

    @property
    def results(self) -> dict[str, bool]:
        """Job → whether it, or every one of its matrix, succeeded."""
        names = dict.fromkeys(job.name for job in self.jobs)
        return {name: all(job.succeeded for job in self.jobs if job.name == name) for name in names}

    def job(self, name: str, **matrix: object) -> Job:
        """The job of that name that ran with these values of the matrix."""
        (found,) = (job for job in self.jobs if job.name == name and matrix.items() <= job.matrix.items())
        return found


def run_workflows(
    repository: Path,
    event: str,
    *,
    payload: Mapping[str, object] | None = None,
    workflow: str | None = None,
    job: str | None = None,
    actions: Mapping[str, Path] | None = None,
    secrets: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_seconds: float = 600,
) -> WorkflowRun:
    """Runs what the repository's workflows say about an event.

    Args:
        repository: a git repository with at least one commit.
        payload: the event as GitHub sends it; a `pull_request` has its `number` at the top and below `pull_request`.
        workflow: the file below `.github/workflows`; all of them when unset.
        actions: `owner/name@ref`, as `uses:` has it → the folder of an action that stands in for it. `actions/checkout`
            needs none.
        environ: what the steps see of the environment beside PATH.

    Raises:
        MissingPart: when there is no act.
    """
    home = Path(tempfile.mkdtemp(prefix="apollo-act-"))
    try:
        command = [required("act"), event, "-C", str(repository), "--json", "--pull=false", "--no-cache-server"]
        command += ["--artifact-server-addr", "127.0.0.1", "--artifact-server-port", str(free_port())]
        command += ["--artifact-server-path", str(home / "artifacts")]
        command += ["--action-cache-path", str(home / "actions")]
        command += [word for runner in RUNNERS for word in ("-P", f"{runner}=-self-hosted")]
        command += [
            word for name, at in (actions or {}).items() for word in ("--local-repository", f"{name}={at.resolve()}")
        ]
        command += ["-W", str(repository / ".github" / "workflows" / workflow)] if workflow else []
        command += ["-j", job] if job else []
        for option, values in (("--secret-file", secrets), ("--var-file", variables), ("--env-file", environ)):
            # A file for each, also an empty one: without it act reads .secrets, .vars and .env of the folder it is in.
            file = home / option.strip("-")
            file.write_text("".join(f"{name}={_quoted(value)}\n" for name, value in (values or {}).items()))
            command += [option, str(file)]
        if payload is not None:
            (home / "event.json").write_text(json.dumps(payload))
            command += ["-e", str(home / "event.json")]
        done = subprocess.run(
            command,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "LANG": "C.UTF-8",
                "DOCKER_HOST": "unix:///nonexistent",
                "HTTP_PROXY": _NOWHERE,
                "HTTPS_PROXY": _NOWHERE,
                "NO_PROXY": "127.0.0.1,localhost",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        return WorkflowRun(done.returncode == 0, _jobs(done.stdout), done.stdout)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _quoted(value: str) -> str:
    """For a file of variables as https://github.com/joho/godotenv reads it: between single quotes all is literal."""
    if "'" not in value and not value.endswith("\\"):
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("$", "\\$")


def _jobs(said: str) -> tuple[Job, ...]:
    outputs: dict[str, dict[str, str]] = {}
    summaries: dict[str, str] = {}
    failed: set[str] = set()
    jobs = []
    for line in said.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        name = entry.get("job", "")
        if entry.get("command") == "set-output":
            outputs.setdefault(name, {})[entry["name"]] = entry["arg"]
        elif entry.get("command") == "summary":
            summaries[name] = summaries.get(name, "") + entry["content"]
        elif entry.get("stepResult") == "failure":
            failed.add(name)
        elif "jobResult" in entry:
            # act keeps one result for a whole matrix: the first failure colours those that end after it.
            succeeded = entry["jobResult"] == "success" or bool(entry["matrix"] and name not in failed)
            jobs.append(Job(entry["jobID"], entry["matrix"], succeeded, outputs.get(name, {}), summaries.get(name, "")))
    return tuple(jobs)
