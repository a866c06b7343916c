"""Dagster's instance as a process finds it: its home folder with its `dagster.yaml`, its id, a database that answers.

What is in the database, and making it, is `migration.py`; which storage class is used is `runs/storage.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_apollo.errors import Problem
from dagster_apollo.runs.place import dagster_home, database_url

if TYPE_CHECKING:
    from dagster import DagsterInstance


def lay_home(environ: Mapping[str, str], root: Path) -> Path:
    """Make the home folder, with the repository's `dagster.yaml` in it, and let this process know both.

    Raises:
        SettingsError: DAGSTER_PG_URI is no URL of Postgres.
    """
    url = database_url(environ)
    home = dagster_home(environ, root).resolve()
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / "dagster.yaml", home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    if url:
        os.environ["DAGSTER_PG_URI"] = url
    return home


def instance_id(instance: DagsterInstance) -> str | None:
    """What tells one instance from another, kept in its database; None on a laptop's SQLite, which has one process."""
    return instance.run_storage.get_run_storage_id() if os.environ.get("DAGSTER_PG_URI") else None  # type: ignore[attr-defined]


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
