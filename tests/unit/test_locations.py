"""Whose a code location is, by its name alone: also of one that is gone, and for tenants with like names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.errors import TenantError
from dagster_apollo.locations import all_locations, declared_locations, group_of, location_name, tenant_of
from dagster_apollo.tenant import load_tenant
from tests.support.tenants import write_tenant


def test_a_tenant_without_several_is_its_own_location() -> None:
    assert (tenant_of("riksdag"), group_of("riksdag")) == ("riksdag", None)


@pytest.mark.parametrize("tenant", ["a", "a_", "_a", "a_b", "kaizen_wars"])
@pytest.mark.parametrize("group", ["dbt", "d", "dbt_marts", "dbt__marts", "x_", "1"])
def test_no_tenants_location_can_be_taken_for_anothers(tenant: str, group: str) -> None:
    location = location_name(tenant, group)

    assert (tenant_of(location), group_of(location)) == (tenant, group)


def test_locations_are_read_from_the_folder_in_their_order(tmp_path: Path) -> None:
    several = "warehouse: duckdb\ncode_locations: [ingestion, dbt]\n"
    write_tenant(tmp_path, "kaizen", {}, several)
    write_tenant(tmp_path, "alpha", {})

    assert declared_locations(tmp_path, "kaizen") == ("kaizen__ingestion", "kaizen__dbt")
    assert all_locations(tmp_path, ["alpha", "kaizen"]) == ["alpha", "kaizen__ingestion", "kaizen__dbt"]


@pytest.mark.parametrize("content", ["code_locations: [_x]\n", "code_locations: 3\n", "nonsense: [\n", "\0"])
def test_a_file_that_cannot_be_read_has_one_location_to_show_why(tmp_path: Path, content: str) -> None:
    write_tenant(tmp_path, "alpha", {}, content)

    assert declared_locations(tmp_path, "alpha") == ("alpha",)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("[_x]", "'_x' is not a group's name"),
        ("['a b']", "'a b' is not a group's name"),
        ("['']", "'' is not a group's name"),
        ("[dbt, dbt]", "'dbt' stands there twice"),
    ],
)
def test_a_group_that_names_no_location_is_told(tmp_path: Path, named: str, told: str) -> None:
    write_tenant(tmp_path, "alpha", {}, f"code_locations: {named}\n")

    with pytest.raises(TenantError, match=told):
        load_tenant(tmp_path, "alpha")


def test_values_that_name_each_other_a_billion_times_are_not_read(tmp_path: Path) -> None:
    """The process that serves everybody reads this file."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    write_tenant(tmp_path, "alpha", {}, "\n".join(lines))

    assert declared_locations(tmp_path, "alpha") == ("alpha",)
    with pytest.raises(TenantError, match="more than 20 aliases"):
        load_tenant(tmp_path, "alpha")
