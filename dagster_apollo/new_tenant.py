"""`apollo tenant new`: a folder from the template, or from a dbt project that exists."""

from __future__ import annotations

import shutil
from pathlib import Path

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.settings import colliding_prefixes
from dagster_apollo.tenant import PROJECT_FILE, can_be_a_name, load_tenant, tenant_names

_LEFT_BEHIND = shutil.ignore_patterns(
    ".git",
    "target",
    "logs",
    "dbt_packages",
    "dbt_modules",
    ".venv",
    "__pycache__",
    ".env",
    ".env.*",
    "*.p8",
    "*.pem",
    "profiles.yml",
)
_HEADING = "no tenant was made"
_TEMPLATE_NAME = "template_tenant"


def make_tenant(tenants_dir: Path, template: Path, name: str, source: Path | None) -> tuple[Path, list[Problem]]:
    """Copy into `tenants/NAME`, whole or not at all.

    Args:
        tenants_dir: the tenants' folder.
        template: what is copied where there is no source.
        name: the new tenant.
        source: a folder with a dbt project in it; `None` for the template.

    Returns:
        The new folder, and notes on what was left out.

    Raises:
        TenantError: the name cannot be a tenant's or is taken, or there is no project to copy.
    """
    folder = tenants_dir / name
    where = f"tenants/{name}"
    if not can_be_a_name(name):
        remedy = "Give letters, digits and single `_`, a letter first, 60 at the most; not main, system or temp."
        raise TenantError([Problem(repr(name), "cannot be a tenant's name", remedy)], _HEADING)
    if folder.exists():
        raise TenantError(
            [Problem(where, "is there already", "Choose another name, or remove the folder first.")], _HEADING
        )
    for one, other in colliding_prefixes([*tenant_names(tenants_dir), name]):
        if name in (one, other):
            rival = other if name == one else one
            what = f"its variables' prefix would collide with that of tenants/{rival}"
            raise TenantError([Problem(where, what, "Choose another name.")], _HEADING)
    origin = source.expanduser() if source else template
    if tenants_dir.resolve().is_relative_to(origin.resolve()):
        remedy = "Name the folder of the dbt project itself."
        raise TenantError([Problem(str(origin), "holds the tenants' folder", remedy)], _HEADING)
    if not origin.is_dir() or not list(origin.glob(f"**/{PROJECT_FILE}")):
        remedy = f"Name a folder that holds a {PROJECT_FILE}."
        raise TenantError([Problem(str(origin), "holds no dbt project", remedy)], _HEADING)
    partial = tenants_dir / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(origin, partial / name, ignore=_LEFT_BEHIND, symlinks=True)
        if source is None:
            _rename(partial / name, name)
        load_tenant(partial, name)
        (partial / name).rename(folder)
    except (shutil.Error, OSError) as error:
        told = " ".join(str(error).split())[:300]
        raise TenantError([Problem(str(origin), f"cannot be copied: {told}", "Nothing was made.")], _HEADING) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    notes = []
    if list(origin.glob("**/profiles.yml")):
        what, remedy = "was left out: the profile is made from the settings", "See docs/settings.md."
        notes.append(Problem("profiles.yml", what, remedy, "note"))
    return folder, notes


def _rename(folder: Path, name: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            if _TEMPLATE_NAME in text:
                file.write_text(text.replace(_TEMPLATE_NAME, name), encoding="utf-8")
