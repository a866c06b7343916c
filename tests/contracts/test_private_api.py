"""What we use of Dagster beyond its public names stands in adapters alone; dagster-dbt's is still there as we use it.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import inspect
from collections.abc import Callable
from typing import Any

import dagster
import dagster_dbt
import pytest

from dagster_apollo.dbt import dagster_dbt_internals
from tests.support.manifests import manifest, node
from tests.support.package_source import Import, Module, modules_of

ADAPTERS = {"dagster_apollo.dbt.dagster_dbt_internals"}
# Adapters whose names have a test of their own: test_host_internals.py, test_storage_internals.py,
# test_code_host_internals.py, test_runs_internals.py, test_reviewed_dagster.py, test_dbt_cloud_internals.py,
# test_warm_internals.py, test_runs_elsewhere_internals.py.
HELD_ELSEWHERE = {
    "dagster_apollo.warm.dagster_internals",
    "dagster_apollo.host.dagster_internals",
    "dagster_apollo.code_host.dagster_internals",
    "dagster_apollo.runs.daemon_internals",
    "dagster_apollo.runs.storage_internals",
    "dagster_apollo.access.scoping.dagster_internals",
    "dagster_apollo.dbt_cloud.dagster_dbt_internals",
    "dagster_apollo.elsewhere.dagster_internals",
    "dagster_apollo.elsewhere.docker_internals",
    "dagster_apollo.elsewhere.kubernetes_internals",
    "dagster_apollo.elsewhere.run_internals",
}
# What a dagster library says is public: its package itself.
_PUBLIC = {
    "dagster", "dagster_dbt", "dagster_dlt", "dagster_docker", "dagster_graphql", "dagster_k8s", "dagster_pipes",
    "dagster_postgres", "dagster_webserver",
}  # fmt: skip


def is_private(entry: Import) -> bool:
    """Whether an import reaches beyond what dagster, or a dagster library, shows."""
    top = entry.module.partition(".")[0]
    if not top.startswith("dagster") or top == "dagster_apollo":
        return False
    return entry.module not in _PUBLIC or (entry.name or "").startswith("_")


def moved(what: str) -> str:
    return (
        f"{what}. dagster {dagster.__version__}, dagster-dbt {dagster_dbt.__version__}: what we rely on has moved; "
        f"mend the adapter that uses it ({', '.join(sorted(ADAPTERS))})"
    )


@pytest.mark.parametrize("module", modules_of().values(), ids=modules_of().keys())
def test_private_names_are_imported_in_the_adapters_alone(module: Module) -> None:
    private = [f"line {entry.line}: {entry.module}.{entry.name}" for entry in module.imports if is_private(entry)]

    assert module.name in ADAPTERS | HELD_ELSEWHERE or private == []


def test_what_the_adapters_import_is_what_is_held_here() -> None:
    used = {entry.name for name in ADAPTERS for entry in modules_of()[name].imports if is_private(entry)}

    assert used == set(PARAMETERS) | CONSTANTS, "hold the new name to its form below"


def test_public_names_are_public() -> None:
    for name, module in modules_of().items():
        for entry in module.imports:
            if entry.module in ("dagster", "dagster_dbt") and entry.name:
                library = dagster if entry.module == "dagster" else dagster_dbt
                assert hasattr(library, entry.name), moved(f"{name} imports {entry.module}.{entry.name}, which is gone")


# Functions and constructors: the parameters that we pass, by name; a new one that must be given breaks us too.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "build_dbt_specs": ("translator", "manifest", "select", "exclude", "selector", "io_manager_key", "project"),
    "default_asset_key_fn": ("dbt_resource_props",),
    "default_owners_from_dbt_resource_props": ("dbt_resource_props",),
    "group_from_dbt_resource_props_fallback_to_directory": ("dbt_resource_props",),
    "get_subset_selection_for_context": (
        "context",
        "manifest",
        "select",
        "exclude",
        "selector",
        "dagster_dbt_translator",
        "current_dbt_indirect_selection_env",
    ),
    "validate_manifest": ("manifest",),
    "select_unique_ids": ("select", "exclude", "selector", "project", "manifest_json"),
    "DbtCoreCliEventMessage": ("raw_event", "event_history_metadata"),
}
CONSTANTS = {
    "DAGSTER_DBT_EXCLUDE_METADATA_KEY",
    "DAGSTER_DBT_SELECT_METADATA_KEY",
    "DAGSTER_DBT_SELECTOR_METADATA_KEY",
    "DAGSTER_DBT_UNIQUE_ID_METADATA_KEY",
}


def private_object(name: str) -> Any:
    if not hasattr(dagster_dbt_internals, name):
        pytest.fail(moved(f"{name} is not there"))
    return getattr(dagster_dbt_internals, name)


@pytest.mark.parametrize(("name", "passed"), PARAMETERS.items(), ids=PARAMETERS)
def test_a_private_function_takes_what_we_pass(name: str, passed: tuple[str, ...]) -> None:
    function: Callable[..., Any] = private_object(name)
    parameters = inspect.signature(function).parameters

    gone = [wanted for wanted in passed if wanted not in parameters]
    assert gone == [], moved(f"{name} no longer takes {', '.join(gone)}")
    asked = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in passed
    ]
    assert asked == [], moved(f"{name} now also asks for {', '.join(asked)}")


def test_the_tag_by_which_a_schedule_knows_its_op_is_the_one_that_dagster_dbt_reads() -> None:
    @dagster_dbt.dbt_assets(manifest=loadable())
    def stock(context: dagster.AssetExecutionContext) -> None:
        """As dagster-dbt declares it."""

    key = dagster_dbt_internals.ALL_OF_THE_PROJECT.keys()
    assert key <= set(stock.op.tags), moved("@dbt_assets no longer tags its op with its selection")


def test_specs_are_made_of_models_with_the_id_of_their_node() -> None:
    specs, checks = dagster_dbt_internals.build_dbt_specs(
        translator=dagster_dbt.DagsterDbtTranslator(), manifest=loadable(), select="fqn:*", exclude="", selector="",
        io_manager_key=None, project=None,
    )  # fmt: skip

    ids = [spec.metadata[dagster_dbt_internals.DAGSTER_DBT_UNIQUE_ID_METADATA_KEY] for spec in specs]
    assert ids == ["model.shop.a"], moved("build_dbt_specs no longer says which node a spec is of")
    assert list(checks) == []


def test_a_selection_is_evaluated_to_unique_ids() -> None:
    found = dagster_dbt_internals.select_unique_ids(
        select="fqn:shop.a", exclude="", selector="", project=None, manifest_json=loadable()
    )

    assert set(found) == {"model.shop.a"}, moved("select_unique_ids gives something else")


def test_the_defaults_of_names_are_as_we_start_from_them() -> None:
    model = node("model", "a", fqn=["shop", "marts", "a"], config={"schema": "s"})

    assert dagster_dbt_internals.default_asset_key_fn(model).path == ["s", "a"], moved("the default key")
    group = dagster_dbt_internals.group_from_dbt_resource_props_fallback_to_directory
    assert group(model) == "marts", moved("the default group")
    owned = {**model, "meta": {"dagster": {"owners": ["a@example.com"]}}}
    assert dagster_dbt_internals.default_owners_from_dbt_resource_props(owned) == ["a@example.com"], moved("owners")


def test_an_event_message_is_made_of_a_line_and_knows_a_result() -> None:
    event = {"info": {"name": "LogModelResult", "msg": "OK"}, "data": {"node_info": {"unique_id": "model.shop.a"}}}
    message = dagster_dbt_internals.DbtCoreCliEventMessage(raw_event=event, event_history_metadata={})

    assert message.is_result_event, moved("a line of dbt's log is no longer an event")
    wanted = {"manifest", "dagster_dbt_translator", "context", "target_path"}
    assert wanted <= set(inspect.signature(message.to_default_asset_events).parameters), moved(
        "to_default_asset_events"
    )


def loadable() -> dict[str, Any]:
    """The smallest manifest that dagster-dbt loads."""
    from dagster_apollo.dbt.manifest import slim

    return slim(manifest(node("model", "a")))
