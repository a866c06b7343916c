"""A tenant's sources: external assets, their freshness as checks, and the tests on them that no model leads to.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import orjson
from dagster_dbt import DagsterDbtTranslator

from dagster_apollo.dbt.assets import Invoke, failure, invoke, read_events, require_services, unique_id
from dagster_apollo.dbt.dagster_dbt_internals import DAGSTER_DBT_UNIQUE_ID_METADATA_KEY
from dagster_apollo.dbt.manifest import dagster_name, selection_names, source_selection_names
from dagster_apollo.dbt.results import connection_refused
from dagster_apollo.dbt.stream import DagsterDbtEvent, DbtEvents
from dagster_apollo.dbt.translation import FRESHNESS_CHECK, TenantTranslator
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import Problem
from dagster_apollo.execution import arguments
from dagster_apollo.lineage import resource as lineage


def source_specs(manifest: Mapping[str, Any], translator: DagsterDbtTranslator) -> list[dg.AssetSpec]:
    """Every source that is not a table of the project's own, with dbt's description and columns."""
    filled = manifest["apollo"]["filled_sources"]
    specs = []
    for source_id in manifest["sources"]:
        if source_id not in filled:
            spec = translator.get_asset_spec(manifest, source_id, None)
            specs.append(spec.replace_attributes(deps=[], skippable=False, code_version=None))
    return specs


# What asks how fresh sources are, by dbt's words: its results, and what it complained of. `measure_freshness` is one.
Measure = Callable[
    [dg.AssetCheckExecutionContext, Workspace, Mapping[str, Any], TenantTranslator, Sequence[str]],
    tuple[Sequence[Mapping[str, Any]], Sequence[str]],
]


def freshness_checks(
    workspace: Workspace, manifest: Mapping[str, Any], translator: TenantTranslator, measure: Measure | None = None
) -> dg.AssetChecksDefinition | None:
    """`dbt source freshness` as one check a source; `None` where no source says how fresh it should be.

    Args:
        workspace: the tenant, ready for dbt.
        manifest: its slim manifest.
        translator: names its nodes.
        measure: takes the place of `measure_freshness` where dbt runs elsewhere.
    """
    filled = manifest["apollo"]["filled_sources"]
    specs: dict[dg.AssetCheckKey, dg.AssetCheckSpec] = {}
    sources: dict[str, dg.AssetCheckKey] = {}
    for source_id, source in manifest["sources"].items():
        if not _has_freshness(source):
            continue
        # A source that a node of the project fills is fresh when that node was built: the check waits for it.
        node = manifest["nodes"].get(filled.get(source_id, ""), source)
        spec = dg.AssetCheckSpec(
            FRESHNESS_CHECK,
            asset=translator.get_asset_key(node),
            description=f"dbt source freshness of {source['source_name']}.{source['name']}",
            metadata={DAGSTER_DBT_UNIQUE_ID_METADATA_KEY: source_id},
        )
        if spec.key in specs:
            spec = spec.replace_key(
                key=dg.AssetCheckKey(spec.asset_key, f"{FRESHNESS_CHECK}_{dagster_name(source['source_name'])}")
            )
        specs[spec.key] = spec
        sources[source_id] = spec.key
    if not specs:
        return None

    @dg.multi_asset_check(
        name=f"{workspace.tenant.name}__source_freshness",
        specs=list(specs.values()),
        can_subset=True,
        pool=workspace.tenant.name,
    )
    def source_freshness(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = {source_id: key for source_id, key in sources.items() if key in context.selected_asset_check_keys}
        names = source_selection_names(manifest, wanted)
        words = arguments.freshness(names)
        results, errors = (measure or measure_freshness)(context, workspace, manifest, translator, words)
        told_of = {result["unique_id"]: result for result in results}
        for source_id, key in wanted.items():
            yield _freshness_result(key, told_of.get(source_id), errors)

    return source_freshness


def measure_freshness(
    context: dg.AssetCheckExecutionContext,
    workspace: Workspace,
    manifest: Mapping[str, Any],
    translator: TenantTranslator,
    words: Sequence[str],
) -> tuple[Sequence[Mapping[str, Any]], Sequence[str]]:
    """Run dbt, and fail unless it has results."""
    require_services(workspace)
    with workspace.run_folder(context.run.run_id) as target_path:
        process = workspace.dbt(words, target_path, run_id=context.run.run_id)
        events = DbtEvents(manifest, translator, target_path)
        for _ in read_events(events, process, context):
            pass
        try:
            results: list[Mapping[str, Any]] = orjson.loads((target_path / "sources.json").read_bytes())["results"]
        except (OSError, ValueError, KeyError):
            refused = connection_refused(workspace.profile, events.errors)
            told = " ".join(events.errors) or f"it ended with exit code {process.returncode}"
            problem = refused or Problem("dbt source freshness", told, "See the run's log.")
            raise failure([problem]) from None
    return results, events.errors


def _has_freshness(source: Mapping[str, Any]) -> bool:
    criteria = source.get("freshness") or {}
    return any((criteria.get(level) or {}).get("count") for level in ("warn_after", "error_after"))


def _freshness_result(
    key: dg.AssetCheckKey, result: Mapping[str, Any] | None, errors: Sequence[str]
) -> dg.AssetCheckResult:
    status = str(result["status"]) if result else "runtime error"
    metadata: dict[str, Any] = {"status": status}
    if result and "max_loaded_at" in result:
        metadata["max_loaded_at"] = result["max_loaded_at"]
        metadata["age_seconds"] = float(result["max_loaded_at_time_ago_in_s"])
    else:
        # dbt logs what went wrong and leaves it out of its results.
        told = (result or {}).get("error") or " ".join(" ".join(errors).split())
        metadata["error"] = str(told or "dbt reported nothing about this source")
    return dg.AssetCheckResult(
        passed=status == "pass",
        asset_key=key.asset_key,
        check_name=key.name,
        severity=dg.AssetCheckSeverity.WARN if status == "warn" else dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def remaining_tests(
    workspace: Workspace,
    manifest: Mapping[str, Any],
    translator: TenantTranslator,
    covered: set[str],
    carry_out: Invoke | None = None,
) -> dg.AssetChecksDefinition | None:
    """Tests that hang on no model, seed or snapshot: those on sources that nothing reads."""
    specs = {}
    for test_id, node in manifest["nodes"].items():
        carrier = node.get("attached_node")
        if node["resource_type"] != "test" or test_id in covered or not carrier:
            continue
        source = manifest["sources"].get(carrier) or manifest["nodes"][carrier]
        spec = dg.AssetCheckSpec(
            node["name"],
            asset=translator.get_asset_key(source),
            description=node["description"] or None,
            metadata={DAGSTER_DBT_UNIQUE_ID_METADATA_KEY: test_id},
        )
        specs[spec.key] = spec
    if not specs:
        return None

    @dg.multi_asset_check(
        name=f"{workspace.tenant.name}__source_tests",
        specs=list(specs.values()),
        can_subset=True,
        required_resource_keys=lineage.resource_keys(workspace.tenant.name, workspace.values),
        pool=workspace.tenant.name,
    )
    def source_tests(context: dg.AssetCheckExecutionContext) -> Iterator[DagsterDbtEvent]:
        wanted = {unique_id(specs[key]) for key in context.selected_asset_check_keys}
        words = arguments.test(selection_names(manifest, wanted))
        yield from (carry_out or invoke)(context, workspace, manifest, translator, wanted, words)

    return source_tests
