"""A tenant's dbt and other commands as tasks of its container: what goes in, under which paths, and what comes out.

The image has the tenant's folder as its working folder, and dbt. In go the profile and the partial parse; out come the
artifacts. Pure functions: who starts it is not known here, nor is Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster_apollo.execution.container import INSIDE, ContainerTask

PROFILES_DIR = f"{INSIDE}/profiles"
TARGET_PATH = f"{INSIDE}/target"
_PARTIAL_PARSE = "partial_parse.msgpack"


def dbt_task(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path,
    project_dir: Path,
    profile: str | None,
    target_path: Path,
    made_of: str | None,
    run_id: str | None = None,
) -> ContainerTask:
    """One dbt invocation; its artifacts come to lie in TARGET_PATH.

    Args:
        words: what follows `dbt`.
        environment: its variables, with paths of this machine in those that are ours.
        folder: the tenant's, which is the image's working folder.
        project_dir: the project's, the same or below it.
        profile: the text of `profiles.yml`; None: the image has one.
        target_path: the folder here, with a partial parse in it or not.
        made_of: the digest of the files that the image should have been built from.
        run_id: the Dagster run that it belongs to.
    """
    files = {f"{PROFILES_DIR}/profiles.yml": profile.encode()} if profile is not None else {}
    if (target_path / _PARTIAL_PARSE).is_file():
        files[f"{TARGET_PATH}/{_PARTIAL_PARSE}"] = (target_path / _PARTIAL_PARSE).read_bytes()
    inside = {
        **({"DBT_PROFILES_DIR": PROFILES_DIR} if profile is not None else {}),
        "DBT_PROJECT_DIR": str(project_dir.relative_to(folder)),
        "DBT_TARGET_PATH": TARGET_PATH,
        "DBT_LOG_PATH": TARGET_PATH,
    }
    return ContainerTask(
        ("dbt", *words),
        {**environment, **inside},
        files=files,
        folders=(TARGET_PATH,),
        also_at=str(folder),
        made_of=made_of,
        run_id=run_id,
    )
