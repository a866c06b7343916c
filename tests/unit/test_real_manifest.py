"""What holds of small manifests holds of a real tenant's, made by the real dbt."""

from __future__ import annotations

import json

import dagster as dg
import pytest

from dagster_apollo.dbt.dagster_dbt_internals import select_unique_ids
from dagster_apollo.dbt.manifest import is_asset, selection_names, slim
from dagster_apollo.dbt.preparation import is_current, load_prepared, prepare
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.definitions import tenant_definitions
from tests.support.manifests import manifest, node

TENANT = "dbt_williamgrant"


@pytest.fixture(scope="module")
def definitions(whisky: Workspace) -> dg.Definitions:
    return tenant_definitions(whisky, load_prepared(whisky), {})


def test_the_manifest_of_definitions_is_less_than_half_of_dbts(whisky: Workspace) -> None:
    whole = (whisky.prepared_dir / "manifest.json").stat().st_size

    assert len(json.dumps(load_prepared(whisky))) < whole / 2


def test_what_was_prepared_is_current_until_something_changes(whisky: Workspace) -> None:
    assert is_current(whisky)
    assert not is_current(whisky, "made of something else")
    assert prepare(whisky) is False


def test_every_node_is_an_asset_of_the_tenant_and_every_test_a_check(
    whisky: Workspace, definitions: dg.Definitions
) -> None:
    kept = load_prepared(whisky)
    graph = definitions.resolve_asset_graph()

    built = [entry for entry in kept["nodes"].values() if is_asset(entry)]
    tests = [entry for entry in kept["nodes"].values() if entry["resource_type"] == "test" and entry["attached_node"]]
    assert len(built) > 20
    assert len(tests) > 50
    assert len(graph.materializable_asset_keys) == len(built)
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {TENANT}
    names = [key.name for key in graph.asset_check_keys if not key.name.startswith("source_freshness")]
    assert len(names) == len(tests)


def test_the_lineage_goes_through_sources_that_seeds_fill(whisky: Workspace, definitions: dg.Definitions) -> None:
    filled = load_prepared(whisky)["apollo"]["filled_sources"]
    graph = definitions.resolve_asset_graph()

    assert filled
    assert set(filled.values()) <= {key for key in load_prepared(whisky)["nodes"] if key.startswith("seed.")}
    assert not [key for key in graph.external_asset_keys if "raw" in key.path], "the lineage would end twice"
    readers = {
        key for seed in ("raw_brands", "raw_skus") for key in graph.get(dg.AssetKey([TENANT, "raw", seed])).child_keys
    }
    assert dg.AssetKey([TENANT, "staging", "stg_skus"]) in readers


def test_definitions_load_and_hold_one_build_job_with_its_schedule(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    repository.load_all_definitions()

    assert f"{TENANT}__build" in repository.job_names
    assert f"{TENANT}__build_schedule" in {schedule.name for schedule in repository.schedule_defs}


def test_a_selection_of_everything_selects_everything(whisky: Workspace) -> None:
    kept = load_prepared(whisky)
    everything = [key for key in kept["nodes"] if kept["nodes"][key]["config"].get("materialized") != "ephemeral"]

    assert selected(kept, everything) >= set(everything)


@pytest.mark.parametrize("kind", ["model", "seed", "snapshot", "test"])
def test_dbt_understands_a_selection_as_exactly_the_node(whisky: Workspace, kind: str) -> None:
    kept = load_prepared(whisky)

    for key in sorted(key for key in kept["nodes"] if key.startswith(f"{kind}."))[:4]:
        assert built_or_named(selected(kept, [key]), key) == {key}


def test_dbt_understands_names_with_anything_in_them() -> None:
    kept = slim(
        manifest(
            node("model", "marts"),
            node("model", "a", fqn=["shop", "marts", "a"]),
            node("model", "b-1", fqn=["shop", "marts", "b-1"]),
            node("seed", "two words", fqn=["shop", "two words"]),
            node("seed", "a+b", fqn=["shop", "a+b"]),
            node("seed", "a*", fqn=["shop", "a*"]),
            node("seed", "ä:@", fqn=["shop", "ä:@"]),
        )
    )

    for key in kept["nodes"]:
        assert selected(kept, [key]) == {key}


def selected(kept: dict[str, object], unique_ids: list[str]) -> set[str]:
    """What dbt makes of the words that are given to it."""
    words = " ".join(selection_names(kept, unique_ids))
    return set(select_unique_ids(select=words, exclude="", selector="", project=None, manifest_json=kept))


def built_or_named(found: set[str], wanted: str) -> set[str]:
    """Without the tests that dbt's default adds to a model's selection: `--indirect-selection empty` adds none."""
    return {key for key in found if key == wanted or not key.startswith("test.")}
