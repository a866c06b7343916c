"""Two tenants with one dbt project name and the same models, side by side."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from tests.support.tenant_folders import TenantFolders, failures

SAME = {
    "models/orders.sql": "select '{{ env_var('CITY') }}' as city\n",
    "models/orders.yml": "models: [{name: orders, columns: [{name: city, data_tests: [unique]}]}]\n",
    "tests/the_world_is_round.sql": "select * from {{ ref('orders') }} where city = ''",
}


def test_each_builds_its_own_tables_under_keys_and_names_of_its_own(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path, NORTH__CITY="Oslo", SOUTH__CITY="Rome")
    tenants.write("north", SAME)
    tenants.write("south", SAME)
    definitions = {name: tenants.load(name) for name in ("north", "south")}
    # Both fit into one Dagster repository, so neither keys nor names of ops, checks, jobs or schedules meet.
    merged = dg.Definitions.merge(*definitions.values())
    merged.get_repository_def().load_all_definitions()
    assert {key.to_user_string() for key in merged.resolve_asset_graph().materializable_asset_keys} == {
        "north/orders",
        "south/orders",
    }
    with dg.DagsterInstance.ephemeral() as instance:
        for name, city in (("north", "Oslo"), ("south", "Rome")):
            result = merged.resolve_job_def(f"{name}__build").execute_in_process(
                instance=instance, raise_on_error=False
            )
            assert result.success, failures(result)
            assert tenants.rows(name, "select city from orders") == [(city,)]
            assert len(result.get_asset_check_evaluations()) == 2
        assert len(instance.get_asset_keys()) == 2
