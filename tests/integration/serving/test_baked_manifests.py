"""What an image brings is used where it holds, and made again, once and with the reason, where it does not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_apollo.code_host.preparing import Report, prepare_tenant
from dagster_apollo.code_host.snapshots import LIST_REPOSITORIES, read_entry
from dagster_apollo.dbt.baking import bake
from dagster_apollo.dbt.preparation import STAMP_FILE
from dagster_apollo.dbt.workspace import Places
from dagster_apollo.errors import ManifestError
from tests.support.stack import BIN, REPOSITORY
from tests.support.tenants import write_tenant

Prepare = Callable[..., Report]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image's folders: two tenants, one of which reads a variable, and what was made of them."""
    root = tmp_path_factory.mktemp("image")
    write_tenant(root / "tenants", "alpha", {"first.sql": "select 1 as id"})
    reading = 'select \'{{ env_var("COLOUR", "blue") }}\' as colour'
    write_tenant(root / "tenants", "beta", {"second.sql": reading})
    (root / "baked/gone").mkdir(parents=True)
    bake({"DBT_TARGET": "prod", **places(root)}, Places.find(places(root), root), root / "baked")
    return root


def places(root: Path) -> dict[str, str]:
    return {"APOLLO_TENANTS_DIR": str(root / "tenants"), "APOLLO_STATE_DIR": str(root / "state")}


@pytest.fixture
def boot(built: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """A container starts on the image, with nothing kept from before."""
    prepared: list[str] = []
    original = prepare_tenant.__globals__["prepare"]
    monkeypatch.setitem(prepare_tenant.__globals__, "prepare", lambda space: prepared.append("yes") or original(space))

    def start(tenant: str, **more: str) -> tuple[Report, int]:
        import shutil

        prepared.clear()
        shutil.rmtree(built / "state" / "tenants" / tenant, ignore_errors=True)
        state = {"APOLLO_STATE_DIR": str(built / "state" / "tenants" / tenant)}
        baked = {"APOLLO_BAKED_DIR": str(built / "baked"), "DBT_TARGET": "prod"}
        report = prepare_tenant({**places(built), **state, **baked, **more}, tenant, "versions")
        return report, len(prepared)

    return start  # type: ignore[return-value]


def test_the_image_holds_what_tenants_are_there_and_no_others(built: Path) -> None:
    assert sorted(folder.name for folder in (built / "baked").iterdir()) == ["alpha", "beta"]
    assert (built / "baked/alpha" / STAMP_FILE).exists()


def test_where_nothing_differs_the_images_manifest_is_served(boot: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    report, prepared = boot("alpha")

    assert prepared == 0
    assert report.problems == ()
    assert report.tables == (("alpha", "main", "first"),)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("tenant", "variables", "reason"),
    [
        ("alpha", {"DBT_SCHEMA": "elsewhere"}, "schema was main and is elsewhere"),
        ("beta", {"BETA__COLOUR": "red"}, "a variable that its files read by `env_var` differs"),
        ("alpha", {"DBT_TARGET": "dev"}, "the target was"),
    ],
    ids=["another schema", "another variable", "another target"],
)
def test_where_something_differs_the_tenant_is_prepared_once_and_the_log_says_why(
    boot: Prepare,
    capsys: pytest.CaptureFixture[str],
    tenant: str,
    variables: dict[str, str],
    reason: str,
) -> None:
    report, prepared = boot(tenant, **variables)

    assert prepared == 1
    assert report.problems == ()
    [line] = capsys.readouterr().out.splitlines()
    assert f"{tenant}: preparing for {variables.get('DBT_TARGET', 'prod')}" in line
    assert reason in line
    assert "red" not in line.replace("differs", "").replace("preparing", "")


def test_what_has_no_part_in_parsing_changes_nothing(boot: Prepare) -> None:
    assert boot("alpha", DBT_THREADS="2", COLOUR="green")[1] == 0


def test_a_run_time_database_is_the_one_that_is_written_to(boot: Prepare) -> None:
    report, _ = boot("alpha", DBT_SCHEMA="elsewhere")

    assert report.tables == (("alpha", "elsewhere", "first"),)


def test_an_image_is_not_built_of_what_cannot_be_parsed(tmp_path: Path) -> None:
    write_tenant(tmp_path / "tenants", "broken", {"first.sql": "select * from {{ ref('nowhere') }}"})
    write_tenant(tmp_path / "tenants", "worse", {"first.sql": "{{ this is no jinja"})

    with pytest.raises(ManifestError) as raised:
        bake({"DBT_TARGET": "prod", **places(tmp_path)}, Places.find(places(tmp_path), tmp_path), tmp_path / "baked")

    told = str(raised.value)
    assert "tenants/broken" in told
    assert "nowhere" in told
    assert "tenants/worse" in told


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_tenant(tmp_path / "tenants", "alpha", {"first.sql": "select 1 as id"})
    (tmp_path / "file").write_text("in the way")
    environ = {"PATH": os.environ["PATH"], "DBT_TARGET": "prod", **places(tmp_path)}

    words = [str(BIN / "apollo"), "bake", str(tmp_path / "file/baked")]
    ended = subprocess.run(words, env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert f"{tmp_path / 'file/baked/alpha'}: cannot be used: Not a directory" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_snapshots_are_made_without_the_database_and_whole_or_not_at_all(tmp_path: Path) -> None:
    write_tenant(tmp_path / "tenants", "alpha", {"first.sql": "select 1 as id"})
    write_tenant(tmp_path / "tenants", "broken", {"first.sql": "select 1 as id"})
    (tmp_path / "tenants/broken/definitions.py").write_text("raise ValueError('not here')")
    nowhere = {"DAGSTER_PG_URI": "postgresql://nobody@127.0.0.1:1/none"}
    environ = {"PATH": os.environ["PATH"], "DBT_TARGET": "prod", **places(tmp_path), **nowhere}

    words = [str(BIN / "apollo"), "bake", str(tmp_path / "baked")]
    made = subprocess.run(words, env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert "manifests made: alpha, broken\n" in made.stdout
    assert "snapshots made: alpha\n" in made.stdout
    assert "broken: cannot be loaded: tenants/broken/definitions.py: cannot be imported: ValueError: n" in made.stdout
    [snapshot] = (tmp_path / "baked-snapshots").iterdir()
    assert snapshot.name.startswith("alpha-")
    assert read_entry(snapshot, LIST_REPOSITORIES)


def test_every_location_of_a_tenant_with_several_has_its_snapshot(tmp_path: Path) -> None:
    in_group = "{{{{ config(meta={{'dagster': {{'group': '{}'}}}}) }}}} select 1 as id"
    models = {f"{group}_model.sql": in_group.format(group) for group in ("some", "others", "more")}
    write_tenant(tmp_path / "tenants", "alpha", models)
    (tmp_path / "tenants/alpha/tenant.yaml").write_text(
        "warehouse: duckdb\nschedule: null\ncode_locations: [some, others, more]\n"
    )
    environ = {"PATH": os.environ["PATH"], "DBT_TARGET": "prod", **places(tmp_path)}

    words = [str(BIN / "apollo"), "bake", str(tmp_path / "baked")]
    made = subprocess.run(words, env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    names = ["alpha__more", "alpha__others", "alpha__some"]
    assert sorted(made.stdout.partition("snapshots made: ")[2].splitlines()[0].split(", ")) == names
    assert sorted(file.name.rpartition("-")[0] for file in (tmp_path / "baked-snapshots").iterdir()) == names
