"""What an environment's location is made of: read from dbt Cloud in a bounded time, else what was last known of it.

A location loads whether dbt Cloud answers or not, and says which. Only a code server that makes definitions asks; a
process that carries out a run takes what is kept, so that it sees what its code server saw.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt_cloud.client import CloudWorkspace, open_workspace
from dagster_apollo.dbt_cloud.connection import Connection
from dagster_apollo.dbt_cloud.dagster_dbt_internals import DbtCloudJobRunStatusType as Status
from dagster_apollo.dbt_cloud.kept_state import (
    Asked,
    KnownState,
    load_asked,
    load_state,
    names_of,
    save_asked,
    save_state,
)
from dagster_apollo.dbt_cloud.runs import LOOK_SECONDS, CloudRun, trigger
from dagster_apollo.errors import DbtCloudError, Problem, TenantError

# One that is down is given up after this, and the rest of the patience goes to one that is slow.
REQUEST_SECONDS = 5
# For a location that has nothing else to show.
FIRST_SECONDS = 120.0
# Several locations of one tenant, and several reloads, are one question, whatever comes of it.
FRESH_SECONDS = 15.0
LOCK_FILE = ".dbt_cloud.lock"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Environment:
    """What definitions are made of.

    Attributes:
        manifest: the slim manifest.
        state: what is known of the environment; None where it was never reached.
        notice: why it is not what dbt Cloud has now; empty where it is.
    """

    manifest: Mapping[str, Any]
    state: KnownState | None
    notice: str = ""


def find_environment(
    tenant: str,
    connection: Connection | None,
    folder: Path,
    own: Mapping[str, Any],
    load_seconds: float,
    *,
    ask: bool,
) -> Environment:
    """The newest that can be had.

    Args:
        tenant: the tenant's id.
        connection: None: dbt Cloud is not to be asked, there is no token.
        folder: where the state is kept.
        own: the slim manifest of the project in the tenant's folder; without nodes where there is none.
        load_seconds: how long dbt Cloud is waited for, where there is something else to show.
        ask: whether dbt Cloud is asked at all.

    Raises:
        TenantError: when dbt Cloud cannot be read, nothing was ever known, and the folder holds no project.
    """
    if connection is None:
        if not own["nodes"]:
            remedy = "Set it, or put the dbt project into the folder to look at it here."
            raise _not_served(tenant, Problem("DBT_CLOUD_TOKEN", "is not set, and the folder holds no project", remedy))
        return Environment(own, None, "DBT_CLOUD_TOKEN is not set: the models are those of the folder, none is built")
    if ask:
        with _locked(folder):
            state, why = _ask(connection, folder, own, load_seconds)
    else:  # without the lock, which one that asks holds for as long as it waits
        state, why = load_state(folder, connection.place), ""
    if state:
        notice = f"the last known state, of {state.read_at:%Y-%m-%d %H:%M} UTC: {why}" if why else ""
    elif own["nodes"]:
        notice = f"the models are those of the tenant's folder, dbt Cloud was never read: {why}" if why else ""
    else:
        what = f"nothing is known of {connection.place}: {why or 'it was never read'}"
        remedy = "Mend that and reload the location; or put the dbt project into the folder."
        raise _not_served(tenant, Problem("dbt Cloud", what, remedy))
    if notice:
        _LOGGER.warning("%s: %s", tenant, notice)
    return Environment(state.manifest if state else own, state, notice)


def _ask(
    connection: Connection, folder: Path, own: Mapping[str, Any], load_seconds: float
) -> tuple[KnownState | None, str]:
    """What is known now, and why it is not what dbt Cloud has; what came of asking a moment ago is not asked again."""
    before, asked = load_state(folder, connection.place), load_asked(folder, connection.place)
    if asked and (before or asked.failed) and abs((datetime.now(UTC) - asked.at).total_seconds()) < FRESH_SECONDS:
        again = asked.at + timedelta(seconds=FRESH_SECONDS)
        return before, asked.failed and f"{asked.failed} A load from {again:%H:%M:%S} UTC on asks again."
    patience = load_seconds if before or own["nodes"] else FIRST_SECONDS
    state, failed = before, ""
    try:
        state = _read(connection, folder, before, time.monotonic() + patience)
    except DbtCloudError as error:
        state, failed = load_state(folder, connection.place), str(error.problems[0])
    save_asked(folder, Asked(connection.place, datetime.now(UTC), failed))
    return state, failed


def _read(connection: Connection, folder: Path, before: KnownState | None, deadline: float) -> KnownState:
    """Jobs, and a manifest by a run that parses the project, as dagster-dbt has it; both are kept."""
    workspace = open_workspace(connection, timeout_seconds=REQUEST_SECONDS, tries=1)
    client = workspace.get_client()
    adhoc_job_id = workspace.adhoc_job_id()
    jobs = names_of(client.list_jobs(workspace.project_id, workspace.environment_id))
    run = _parse_run(workspace, adhoc_job_id, before, deadline)
    if before:  # so that the next load takes this run up, whatever becomes of this one
        save_state(folder, replace(before, jobs=jobs, adhoc_job_id=adhoc_job_id, parsing=run.id))
    _wait(run, deadline)
    if run.has_ended:
        problem = _parse_problem(run)
        parsed = None if problem else run.artifact("manifest.json")
        if parsed:
            state = KnownState(connection.place, _finished_at(run), slim(parsed), jobs, adhoc_job_id)
            save_state(folder, state)
            return state
        raise DbtCloudError(problem or Problem("dbt Cloud", f"run {run.id} left no manifest", f"See {run.url}."))
    what = f"run {run.id}, which parses the project, has not ended"
    if not before and (latest := _latest_manifest(workspace)):
        read_at, manifest = latest
        save_state(folder, KnownState(connection.place, read_at, slim(manifest), jobs, adhoc_job_id, run.id))
    raise DbtCloudError(Problem("dbt Cloud", f"is slow: {what}", f"Reload the location later; see {run.url}."))


def _parse_run(workspace: CloudWorkspace, adhoc_job_id: int, before: KnownState | None, deadline: float) -> CloudRun:
    """The run that an earlier load has left behind, where it is still under way; else a new one."""
    client = workspace.get_client()
    if before and before.parsing:
        try:
            details = client.get_run_details(before.parsing, include_related=["run_steps"])
        except DbtCloudError as error:
            if error.status != 404:
                raise
        else:
            run = CloudRun(client, before.parsing, str(details.get("href") or client.access_url), details)
            if not run.has_ended or (run.succeeded and _finished_at(run) > before.read_at):
                return run
    look_seconds = max(0.0, min(LOOK_SECONDS, deadline - time.monotonic()))
    return trigger(client, adhoc_job_id, "Dagster parses the project", ["parse"], look_seconds=look_seconds)


def _wait(run: CloudRun, deadline: float) -> None:
    while not run.has_ended and time.monotonic() < deadline:
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
        run.look()


def _parse_problem(run: CloudRun) -> Problem | None:
    if run.succeeded:
        return None
    told = " ".join(run.errors()) or "it failed"
    return Problem("dbt Cloud", f"run {run.id} did not parse the project: {told}", f"See {run.url}.")


def _latest_manifest(workspace: CloudWorkspace) -> tuple[datetime, Mapping[str, Any]] | None:
    """The manifest of the last run that succeeded, of whatever job: older than a parse, and better than none."""
    client = workspace.get_client()
    asked = {
        "project_id": workspace.project_id,
        "environment_id": workspace.environment_id,
        "status": int(Status.SUCCESS),
        "order_by": "-finished_at",
        "limit": 1,
    }
    for details in client.ask("get", "runs", params=asked):
        run = CloudRun(client, int(details["id"]), str(details.get("href") or ""), details)
        if manifest := run.artifact("manifest.json"):
            return _finished_at(run), manifest
    return None


def _finished_at(run: CloudRun) -> datetime:
    told = run.details.get("finished_at")
    moment = datetime.fromisoformat(str(told)) if told else datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _not_served(tenant: str, problem: Problem) -> TenantError:
    return TenantError([problem], f"the tenant {tenant} cannot be served")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
