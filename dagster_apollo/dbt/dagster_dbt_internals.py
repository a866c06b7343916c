"""What we use of dagster-dbt beyond its public names, in this one place.

* `build_dbt_specs`: the decorator `@dbt_assets` makes specs and an op at once; the op here is our own, because its
  selection names tests instead of inferring them and its dbt gets a tenant's environment.
* `DbtCoreCliEventMessage`: turns a line of dbt's log into Dagster events; public as a type, its constructor is not.
* `default_asset_key_fn`, `default_owners_…`, `group_from_…`: the defaults that a translator starts from.
* `select_unique_ids`: evaluates dbt's selection syntax on a manifest without starting dbt.

`tests/contracts/test_private_api.py` names what an upgrade moves.
"""

from __future__ import annotations

from dagster_dbt.asset_utils import (
    DAGSTER_DBT_SELECT_METADATA_KEY,
    DAGSTER_DBT_UNIQUE_ID_METADATA_KEY,
    build_dbt_specs,
    default_asset_key_fn,
    default_owners_from_dbt_resource_props,
    group_from_dbt_resource_props_fallback_to_directory,
)
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from dagster_dbt.utils import select_unique_ids

# The tag by which `build_schedule_from_dbt_selection` knows what an op covers.
ALL_OF_THE_PROJECT = {DAGSTER_DBT_SELECT_METADATA_KEY: "fqn:*"}

__all__ = [
    "ALL_OF_THE_PROJECT",
    "DAGSTER_DBT_UNIQUE_ID_METADATA_KEY",
    "DbtCoreCliEventMessage",
    "build_dbt_specs",
    "default_asset_key_fn",
    "default_owners_from_dbt_resource_props",
    "group_from_dbt_resource_props_fallback_to_directory",
    "select_unique_ids",
]
