"""What was last known of an environment, its manifest and jobs, and when it was last asked: two files of the tenant's.

Each is written whole or not at all, so that it is read without a lock. Both belong to one environment: after a change
of address or numbers they are nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from dagster_apollo.dbt.preparation import replace_file

STATE_FILE = "dbt_cloud.json"
ASKED_FILE = "dbt_cloud_asked.json"


@dataclass(frozen=True)
class KnownState:
    """An environment as it was.

    Attributes:
        place: which environment, `Connection.place`.
        read_at: when its project was parsed.
        manifest: dbt's, slim.
        jobs: its jobs by number: their names.
        adhoc_job_id: the job that Dagster's runs are runs of.
        parsing: a run that parses the project and had not ended when it was last looked at.
    """

    place: str
    read_at: datetime
    manifest: Mapping[str, Any]
    jobs: Mapping[int, str]
    adhoc_job_id: int
    parsing: int | None = None


@dataclass(frozen=True)
class Asked:
    """The last time that an environment was asked.

    Attributes:
        place: which environment, `Connection.place`.
        at: when its answer was there, or was no longer waited for.
        failed: why it was asked in vain; empty where it was not.
    """

    place: str
    at: datetime
    failed: str


def load_state(folder: Path, place: str) -> KnownState | None:
    """What is known of an environment; None where nothing is, or what there is cannot be read."""
    try:
        content = orjson.loads((folder / STATE_FILE).read_bytes())
        jobs = {int(number): str(name) for number, name in content["jobs"].items()}
        content |= {"jobs": jobs, "read_at": datetime.fromisoformat(content["read_at"])}
        state = KnownState(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return state if state.place == place else None


def save_state(folder: Path, state: KnownState) -> None:
    """Keep a state."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**vars(state), "jobs": {str(number): name for number, name in state.jobs.items()}}
    replace_file(folder / STATE_FILE, orjson.dumps(content))


def load_asked(folder: Path, place: str) -> Asked | None:
    """When an environment was last asked; None where it never was, or what there is cannot be read."""
    try:
        content = orjson.loads((folder / ASKED_FILE).read_bytes())
        asked = Asked(**(content | {"at": datetime.fromisoformat(content["at"])}))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return asked if asked.place == place else None


def save_asked(folder: Path, asked: Asked) -> None:
    """Keep when it was, and what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / ASKED_FILE, orjson.dumps(vars(asked)))


def names_of(jobs: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Jobs as the API lists them, by number."""
    return {int(job["id"]): str(job.get("name") or "") for job in jobs}
