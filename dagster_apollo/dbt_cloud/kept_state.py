"""What was last known of an environment: its manifest and jobs, as a file in the tenant's state folder.

Written whole or not at all. A state belongs to one environment: after a change of address or numbers it is nobody's.
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


def names_of(jobs: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Jobs as the API lists them, by number."""
    return {int(job["id"]): str(job.get("name") or "") for job in jobs}
