"""Tiny tenants, written into a test's own folder: as much of a dbt project as the behaviour under test needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

ON_DUCKDB = "warehouse: duckdb\n"


def write_tenant(tenants_dir: Path, name: str, files: Mapping[str, str], tenant_yaml: str = ON_DUCKDB) -> Path:
    """A tenant's folder.

    Args:
        tenants_dir: made when it is not there.
        name: the tenant.
        files: texts by their path below the folder; a bare name such as `first.sql` is a model.
        tenant_yaml: the content of `tenant.yaml`.
    """
    folder = tenants_dir / name
    project = {"name": name, "version": "1.0.0", "config-version": 2, "profile": "tiny"}
    texts = {"dbt_project.yml": yaml.safe_dump(project), "tenant.yaml": tenant_yaml, **files}
    for path, text in texts.items():
        is_model = "/" not in path and path.endswith((".sql", ".yml", ".py")) and path not in _AT_THE_TOP
        file = folder / ("models" if is_model else ".") / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


_AT_THE_TOP = {"dbt_project.yml", "packages.yml", "definitions.py"}


class Gate:
    """A model that waits until it is let through, so that a test can act while a run is in progress.

    It also refuses to be built twice at the same time.

    Attributes:
        folder: where model and test meet; the model makes `reached` and waits for `open`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # the model may be built by a user of its tenant's own

    def model(self, after: str | None = None) -> str:
        """The Python model's text; `after` names a model to be built first."""
        upstream = f'    dbt.ref("{after}")\n' if after else ""
        return f"""\
import pathlib
import time

FOLDER = pathlib.Path({str(self.folder)!r})


def model(dbt, session):
    dbt.config(materialized="table")
{upstream}    (FOLDER / "inside").mkdir()
    try:
        (FOLDER / "reached").touch()
        while not (FOLDER / "open").exists():
            time.sleep(0.05)
    finally:
        (FOLDER / "inside").rmdir()
    return session.sql("select 1 as id")
"""

    @property
    def reached(self) -> bool:
        """Whether a build has come to the model."""
        return (self.folder / "reached").exists()

    def open(self) -> None:
        """Let this build and all later ones through."""
        (self.folder / "open").touch()

    def forget(self) -> None:
        """As if nothing had been here: for after a build that was killed inside."""
        (self.folder / "reached").unlink(missing_ok=True)
        if (self.folder / "inside").exists():
            (self.folder / "inside").rmdir()
