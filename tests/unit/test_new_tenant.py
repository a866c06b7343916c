"""A new tenant is whole and servable, or there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import TenantError
from dagster_apollo.new_tenant import make_tenant
from dagster_apollo.tenant import load_tenant, tenant_names

TEMPLATE = repository_root() / "tenants" / "_template"


@pytest.fixture
def tenants_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "tenants"
    folder.mkdir()
    (folder / "_template").symlink_to(TEMPLATE)
    return folder


def project(folder: Path, *more: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: theirs\nprofile: theirs\n")
    for path in more:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    return folder


def refusal(tenants_dir: Path, name: str, source: Path | None = None) -> str:
    before = sorted(tenants_dir.iterdir())
    with pytest.raises(TenantError) as refused:
        make_tenant(tenants_dir, tenants_dir / "_template", name, source)
    assert sorted(tenants_dir.iterdir()) == before, "something was left behind"
    return str(refused.value)


def test_a_tenant_from_the_template_has_its_own_name_throughout(tenants_dir: Path) -> None:
    folder, notes = make_tenant(tenants_dir, tenants_dir / "_template", "shop", None)

    assert folder == tenants_dir / "shop"
    assert notes == []
    tenant = load_tenant(tenants_dir, "shop")
    assert tenant.project["name"] == "shop"
    assert set(tenant.project["models"]) == {"shop"}
    copied = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert copied == {str(file.relative_to(TEMPLATE)) for file in TEMPLATE.rglob("*") if file.is_file()}
    assert not [file for file in folder.rglob("*") if file.is_file() and "template_tenant" in file.read_text()]


def test_a_project_is_copied_without_what_was_made_in_it(tenants_dir: Path, tmp_path: Path) -> None:
    left_behind = [".git/HEAD", "target/manifest.json", "logs/dbt.log", "dbt_packages/x/y", ".venv/z", ".env"]
    source = project(tmp_path / "theirs", "models/a.sql", "seeds/b.csv", *left_behind)

    folder, notes = make_tenant(tenants_dir, tenants_dir / "_template", "shop", source)

    copied = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert copied == {"dbt_project.yml", "models/a.sql", "seeds/b.csv"}
    assert (folder / "dbt_project.yml").read_text() == "name: theirs\nprofile: theirs\n"
    assert notes == []


def test_a_copied_profile_is_noted_since_it_is_not_used(tenants_dir: Path, tmp_path: Path) -> None:
    _, [note] = make_tenant(
        tenants_dir, tenants_dir / "_template", "shop", project(tmp_path / "theirs", "profiles.yml")
    )

    assert (note.where, note.severity) == ("profiles.yml", "note")


def test_a_project_may_lie_below_the_folder_that_is_copied(tenants_dir: Path, tmp_path: Path) -> None:
    project(tmp_path / "repository" / "dbt")

    folder, _ = make_tenant(tenants_dir, tenants_dir / "_template", "shop", tmp_path / "repository")

    assert load_tenant(tenants_dir, "shop").project_dir == folder / "dbt"


@pytest.mark.parametrize(
    "name",
    ["", "_hidden", ".hidden", "a/b", "../a", "a\\b", "my-shop", "my shop", "2fast", "a__b", "ä", "x" * 61, "a\n"],
)
def test_a_name_that_no_tenant_may_have_is_refused(tenants_dir: Path, name: str) -> None:
    told = refusal(tenants_dir, name)

    assert f"{name!r}: cannot be a tenant's name. Give letters, digits and single `_`" in told
    assert "git mv" not in told, "there is no folder yet that could be renamed"


def test_a_name_that_is_taken_is_refused_and_the_folder_kept(tenants_dir: Path) -> None:
    make_tenant(tenants_dir, tenants_dir / "_template", "shop", None)
    (tenants_dir / "shop" / "mine.sql").write_text("select 1")

    assert "tenants/shop: is there already" in refusal(tenants_dir, "shop")
    assert (tenants_dir / "shop" / "mine.sql").exists()


@pytest.mark.parametrize("name", ["Shop", "SHOP", "shop_"])
def test_a_name_whose_variables_would_be_anothers_is_refused(tenants_dir: Path, name: str) -> None:
    make_tenant(tenants_dir, tenants_dir / "_template", "shop", None)

    assert "its variables' prefix would collide with that of tenants/shop" in refusal(tenants_dir, name)


def test_a_folder_without_a_project_is_refused(tenants_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert "holds no dbt project" in refusal(tenants_dir, "shop", tmp_path / "empty")
    assert "holds no dbt project" in refusal(tenants_dir, "shop", tmp_path / "nowhere")


def test_a_project_that_cannot_be_served_leaves_nothing(tenants_dir: Path, tmp_path: Path) -> None:
    source = project(tmp_path / "theirs")
    (source / "tenant.yaml").write_text("warehose: duckdb\n")

    assert "Did you mean `warehouse`?" in refusal(tenants_dir, "shop", source)


def test_a_project_with_links_to_elsewhere_is_refused(tenants_dir: Path, tmp_path: Path) -> None:
    source = project(tmp_path / "theirs")
    (tmp_path / "elsewhere.sql").write_text("select 1")
    (source / "linked.sql").symlink_to(tmp_path / "elsewhere.sql")

    assert "is a symlink that leaves the tenant's folder" in refusal(tenants_dir, "shop", source)


def test_what_an_interrupted_copy_left_does_not_matter(tenants_dir: Path) -> None:
    (tenants_dir / ".shop.partial" / "shop").mkdir(parents=True)
    (tenants_dir / ".shop.partial" / "shop" / "half").write_text("")

    folder, _ = make_tenant(tenants_dir, tenants_dir / "_template", "shop", None)

    assert not (folder / "half").exists()
    assert tenant_names(tenants_dir) == ["shop"]
    assert not (tenants_dir / ".shop.partial").exists()
