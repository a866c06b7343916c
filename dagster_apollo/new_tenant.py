"""`apollo tenant new`: a folder from the template, or from a dbt project that exists."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.settings import colliding_prefixes
from dagster_apollo.tenant import PROJECT_FILE, load_tenant, tenant_names

_LEFT_BEHIND = shutil.ignore_patterns(
    ".git", "target", "logs", "dbt_packages", "dbt_modules", ".venv", "__pycache__", ".env"
)
_TEMPLATE_NAME = "template_tenant"


def make_tenant(tenants_dir: Path, name: str, source: Path | None) -> tuple[Path, list[Problem]]:
    """Copy into `tenants/NAME`, whole or not at all.

    Args:
        tenants_dir: the tenants' folder.
        name: the new tenant.
        source: a folder with a dbt project in it; `None` for the template.

    Returns:
        The new folder, and notes on what was left out.

    Raises:
        TenantError: the name cannot be a tenant's or is taken, or there is no project to copy.
    """
    folder = tenants_dir / name
    where = f"tenants/{name}"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name) or "__" in name:
        remedy = "Give letters, digits and single `_`, a letter first, 60 at the most."
        raise TenantError([Problem(repr(name), "cannot be a tenant's name", remedy)])
    if folder.exists():
        raise TenantError([Problem(where, "is there already", "Choose another name, or remove the folder first.")])
    for one, other in colliding_prefixes([*tenant_names(tenants_dir), name]):
        if name in (one, other):
            rival = other if name == one else one
            what = f"its variables' prefix would collide with that of tenants/{rival}"
            raise TenantError([Problem(where, what, "Choose another name.")])
    origin = (source or tenants_dir / "_template").expanduser()
    if not origin.is_dir() or not list(origin.glob(f"**/{PROJECT_FILE}")):
        remedy = f"Name a folder that holds a {PROJECT_FILE}."
        raise TenantError([Problem(str(origin), "holds no dbt project", remedy)])
    partial = tenants_dir / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(origin, partial / name, ignore=_LEFT_BEHIND, symlinks=True)
        if source is None:
            _rename(partial / name, name)
        load_tenant(partial, name)
        (partial / name).rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    notes = []
    if list(folder.glob("**/profiles.yml")):
        what, remedy = "is not used: the profile is made from the settings", "Remove it."
        notes.append(Problem(f"{where}/profiles.yml", what, remedy, "note"))
    return folder, notes


def _rename(folder: Path, name: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            if _TEMPLATE_NAME in text:
                file.write_text(text.replace(_TEMPLATE_NAME, name), encoding="utf-8")
