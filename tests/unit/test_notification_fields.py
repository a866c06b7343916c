"""`notifications` of `tenant.yaml`, and what keeps its URLs from others than whom they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo import environment
from dagster_apollo.errors import TenantError
from dagster_apollo.tenant import load_tenant
from tests.support.shop_tenant import places_below, write_tenant


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{url_variable: 'slack://canary/of/a/token'}", "no variable's name"),
        ("{url_variable: SNOWFLAKE_USER}", "SNOWFLAKE_USER is a setting of another meaning"),
        ("{url_variable: TELL_US, about: [success]}", "input should be 'run_failure' or 'check_failure'"),
        ("{}", "field required"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_and_a_url_in_it_is_not(tmp_path: Path, entry: str, told: str) -> None:
    places = places_below(tmp_path)
    write_tenant(places, f"notifications: [{entry}]\n")

    with pytest.raises(TenantError) as refused:
        load_tenant(places.tenants_dir, "shop")

    [problem] = refused.value.problems
    assert told in problem.what
    assert "canary" not in str(refused.value)


def test_a_variable_is_left_out_under_both_of_its_names() -> None:
    environ = {"TELL_US": "a", "ACME__TELL_US": "b", "OTHER__TELL_US": "c", "KEPT": "d"}

    assert environment.without(environ, "acme", ["TELL_US"]) == {"OTHER__TELL_US": "c", "KEPT": "d"}
