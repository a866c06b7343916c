"""Dagster's instance as a process finds it: its home folder, its `dagster.yaml`, its database's address.

What is in the database, and making it, is `migration.py`; which storage class is used is `storage.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_apollo.errors import Problem
from dagster_apollo.settings import read

if TYPE_CHECKING:
    from dagster import DagsterInstance


def dagster_home(environ: Mapping[str, str], root: Path) -> Path:
    """DAGSTER_HOME, from the repository where it is relative."""
    return root / str(read({"DAGSTER_HOME": environ.get("DAGSTER_HOME", "")})["DAGSTER_HOME"])


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


def database_url(environ: Mapping[str, str]) -> str | None:
    """DAGSTER_PG_URI with its driver spelt out; None: SQLite.

    Raises:
        SettingsError: it is no URL of Postgres.
    """
    return read({"DAGSTER_PG_URI": environ.get("DAGSTER_PG_URI", "")}).text("DAGSTER_PG_URI")


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
