"""The tenants that ship are explained by a paragraph and a picture; a picture is what the definitions give now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.tenant import tenant_names
from scripts.draw_graph import PICTURE, graph_of

TENANTS = repository_root() / "tenants"
DRAWN = [name for name in tenant_names(TENANTS) if (TENANTS / name / PICTURE).exists()]
# A fork takes out whole folders of these, and what it adds need not have either.
SHIPPED = [
    name
    for name in ("bioreactor", "dbt_williamgrant", "kaizen_wars", "makerates", "riksdag")
    if (TENANTS / name).exists()
]


@pytest.mark.parametrize("tenant", DRAWN)
def test_a_picture_shows_what_the_definitions_say(tenant: str, tmp_path: Path) -> None:
    drawn = graph_of(Places(repository_root(), TENANTS, tmp_path), tenant)

    assert (TENANTS / tenant / PICTURE).read_text() == drawn, f"draw it anew: scripts/draw_graph.py {tenant}"


@pytest.mark.parametrize("tenant", SHIPPED)
def test_a_tenant_that_ships_has_a_readme_of_one_paragraph_and_the_picture(tenant: str) -> None:
    heading, *blocks = re.split(r"\n\s*\n", (TENANTS / tenant / "README.md").read_text().strip())
    *prose, picture = [block for block in blocks if not block.startswith("|")]  # a table is none

    assert heading == f"# {tenant}"
    assert len(prose) == 1, "one paragraph"
    assert re.match(r"[A-Z]", prose[0]), "of sentences, not a list or a second heading"
    assert "```" not in prose[0], "of sentences, with no block of code inside"
    assert picture == f"![The graph]({PICTURE})"
    assert (TENANTS / tenant / PICTURE).is_file()
