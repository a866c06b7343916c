"""A tenant folder named `shop` without a model, for tests of what is made from its settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace

SHOP_PROJECT = "name: shop\nprofile: shop_profile\n"


def places_below(root: Path) -> Places:
    """Empty places of a test's own."""
    places = Places(root, root / "tenants", root / "state")
    places.tenants_dir.mkdir(parents=True, exist_ok=True)
    return places


def write_tenant(places: Places, config: str = "", name: str = "shop", project: str = SHOP_PROJECT) -> Path:
    """Write the folder: `config` is the text of its `tenant.yaml`."""
    folder = places.tenants_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dbt_project.yml").write_text(project, encoding="utf-8")
    (folder / "tenant.yaml").write_text(config, encoding="utf-8")
    return folder


def open_shop(root: Path, environ: Mapping[str, str] | None = None, config: str = "warehouse: duckdb\n") -> Workspace:
    """The tenant, ready for dbt, with an environment of exactly these variables."""
    places = places_below(root)
    write_tenant(places, config)
    return open_workspace(environ or {}, places, "shop")
