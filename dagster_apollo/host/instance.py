"""Dagster's instance on this machine: its home folder, its `dagster.yaml`, its storage before anybody uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.settings import read


def dagster_home(environ: Mapping[str, str], root: Path) -> Path:
    """DAGSTER_HOME, from the repository where it is relative."""
    return root / str(read({"DAGSTER_HOME": environ.get("DAGSTER_HOME", "")})["DAGSTER_HOME"])


def lay_home(environ: Mapping[str, str], root: Path) -> Path:
    """Make the home folder, with the repository's `dagster.yaml` in it, and its storage.

    The storage is made before any other process starts: code servers that start together on an empty SQLite folder
    leave its `alembic_version` in pieces.
    """
    from dagster import DagsterInstance

    home = dagster_home(environ, root).resolve()
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / "dagster.yaml", home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    if uri := environ.get("DAGSTER_PG_URI"):
        os.environ["DAGSTER_PG_URI"] = uri
    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)
        instance.event_log_storage.get_maximum_record_id()
        if instance.schedule_storage:
            instance.schedule_storage.all_instigator_state()
    return home
