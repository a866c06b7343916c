"""What we use of dagster-dbt beyond its public names, in this one place.

* `build_dbt_specs`: the decorator `@dbt_assets` makes specs and an op at once; the op here is our own, because its
  selection names tests instead of inferring them and its dbt gets a tenant's environment.
* `DbtCoreCliEventMessage`: turns a line of dbt's log into Dagster events; public as a type, its constructor is not.
* `default_asset_key_fn`, `default_owners_…`, `group_from_…`: the defaults that a translator starts from.
* `get_subset_selection_for_context`, `validate_manifest`: for the component, what `DbtCliResource.cli` does with them.
* `select_unique_ids`: evaluates dbt's selection syntax on a manifest without starting dbt.

`tests/contracts/test_private_api.py` names what an upgrade moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import (
    DAGSTER_DBT_EXCLUDE_METADATA_KEY,
    DAGSTER_DBT_SELECT_METADATA_KEY,
    DAGSTER_DBT_SELECTOR_METADATA_KEY,
    DAGSTER_DBT_UNIQUE_ID_METADATA_KEY,
    build_dbt_specs,
    default_asset_key_fn,
    default_owners_from_dbt_resource_props,
    get_subset_selection_for_context,
    group_from_dbt_resource_props_fallback_to_directory,
)
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from dagster_dbt.dbt_manifest import validate_manifest
from dagster_dbt.utils import select_unique_ids

# The tag by which `build_schedule_from_dbt_selection` knows what an op covers.
ALL_OF_THE_PROJECT = {DAGSTER_DBT_SELECT_METADATA_KEY: "fqn:*"}


def selection_for(
    context: dg.AssetExecutionContext, manifest: Mapping[str, Any], translator: DagsterDbtTranslator
) -> tuple[list[str], str | None]:
    """dbt's arguments for what Dagster selected of a component's assets, and what DBT_INDIRECT_SELECTION must be."""
    tags = context.op.tags
    return get_subset_selection_for_context(
        context=context,
        manifest=manifest,
        select=tags.get(DAGSTER_DBT_SELECT_METADATA_KEY),
        exclude=tags.get(DAGSTER_DBT_EXCLUDE_METADATA_KEY),
        selector=tags.get(DAGSTER_DBT_SELECTOR_METADATA_KEY),
        dagster_dbt_translator=translator,
        current_dbt_indirect_selection_env=None,
    )


__all__ = [
    "ALL_OF_THE_PROJECT",
    "DAGSTER_DBT_UNIQUE_ID_METADATA_KEY",
    "DbtCoreCliEventMessage",
    "build_dbt_specs",
    "default_asset_key_fn",
    "default_owners_from_dbt_resource_props",
    "group_from_dbt_resource_props_fallback_to_directory",
    "select_unique_ids",
    "selection_for",
    "validate_manifest",
]
