"""The committed pictures of the tenants' graphs are those that their definitions give now."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.tenant import tenant_names
from scripts.draw_graph import PICTURE, graph_of

TENANTS = repository_root() / "tenants"
DRAWN = [name for name in tenant_names(TENANTS) if (TENANTS / name / PICTURE).exists()]


@pytest.mark.parametrize("tenant", DRAWN)
def test_a_picture_shows_what_the_definitions_say(tenant: str, tmp_path: Path) -> None:
    drawn = graph_of(Places(repository_root(), TENANTS, tmp_path), tenant)

    assert (TENANTS / tenant / PICTURE).read_text() == drawn, f"draw it anew: scripts/draw_graph.py {tenant}"
