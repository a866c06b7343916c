"""Dagster's instance on this machine: its home folder, its `dagster.yaml`, its storage before anybody uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.settings import read


def dagster_home(environ: Mapping[str, str], root: Path) -> Path:
    """DAGSTER_HOME, from the repository where it is relative."""
    return root / str(read({"DAGSTER_HOME": environ.get("DAGSTER_HOME", "")})["DAGSTER_HOME"])


def lay_home(environ: Mapping[str, str], root: Path) -> Path:
    """Make the home folder, with the repository's `dagster.yaml` in it, and its storage.

    The storage is made before any other process starts: code servers that start together on an empty SQLite folder
    leave its `alembic_version` in pieces.

    Raises:
        HostError: when DAGSTER_PG_URI names a database that cannot be used.
    """
    from dagster import DagsterInstance

    url = read({"DAGSTER_PG_URI": environ.get("DAGSTER_PG_URI", "")}).text("DAGSTER_PG_URI")
    if problems := database_problems(url):
        raise HostError(problems, "Dagster's records cannot be kept")
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


def database_problems(url: str | None) -> list[Problem]:
    """Why the database behind DAGSTER_PG_URI cannot be used; nothing is said of SQLite. The password is never shown."""
    if not url:
        return []
    from sqlalchemy import create_engine, exc

    engine = create_engine(url, connect_args={"connect_timeout": 5})
    shown = f"{engine.url.host}:{engine.url.port or 5432}/{engine.url.database}"
    try:
        with engine.connect():
            return []
    except exc.SQLAlchemyError as error:
        told = " ".join(str(getattr(error, "orig", error)).split())
        for secret in filter(None, (engine.url.password,)):
            told = told.replace(str(secret), "***")
        return [Problem("DAGSTER_PG_URI", f"{shown} cannot be used: {told}", "Check host, name, user and password.")]
    finally:
        engine.dispose()
