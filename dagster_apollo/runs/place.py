"""Where an instance's records are: a database, or a folder.

What is kept there, and how, is `storage.py`; making the folder and the schema is the roles' at their start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.settings import read


def dagster_home(environ: Mapping[str, str], root: Path) -> Path:
    """DAGSTER_HOME, from the repository where it is relative."""
    return root / str(read({"DAGSTER_HOME": environ.get("DAGSTER_HOME", "")})["DAGSTER_HOME"])


def database_url(environ: Mapping[str, str]) -> str | None:
    """DAGSTER_PG_URI with its driver spelt out; None: SQLite.

    Raises:
        SettingsError: it is no URL of Postgres.
    """
    return read({"DAGSTER_PG_URI": environ.get("DAGSTER_PG_URI", "")}).text("DAGSTER_PG_URI")
