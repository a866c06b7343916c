"""A run is green only when everything that was selected ended well; what did not is said in plain words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt.results import connection_refused, held_to_selection, read_results
from dagster_apollo.errors import Problem
from dagster_apollo.warehouse.profiles import Profile
from tests.support.manifests import manifest, node, unit_test
from tests.support.recording import shop_results, shop_slim

KEPT = slim(
    manifest(
        node("model", "a"),
        node("model", "b", ["model.shop.a"]),
        node("model", "e", ["model.shop.a"], config={"materialized": "ephemeral"}),
        node("seed", "s"),
        node("test", "t", ["model.shop.a"]),
        unit_test("adds_up", "a"),
    )
)


def result(unique_id: str, status: str, message: str | None = None) -> dict[str, dict[str, Any]]:
    return {unique_id: {"unique_id": unique_id, "status": status, "message": message}}


def held(
    selected: list[str], results: dict[str, Any], errors: list[str] | None = None, returncode: int | None = 0
) -> list[str]:
    return [str(problem) for problem in held_to_selection(KEPT, selected, results, errors or [], returncode)]


@pytest.mark.parametrize("status", ["success", "pass", "warn", "no-op", "reused", "SUCCESS", "Pass"])
def test_what_ended_well_is_no_problem(status: str) -> None:
    assert held(["model.shop.a"], result("model.shop.a", status)) == []


@pytest.mark.parametrize("status", ["error", "fail", "runtime error", "partial success", "a status of the future"])
def test_every_other_end_is_a_failure_that_names_the_node_and_its_file(status: str) -> None:
    assert held(["model.shop.a"], result("model.shop.a", status, "column\n  not found"), returncode=1) == [
        "model a: column not found. See models/a.sql."
    ]
    assert held(["model.shop.a"], result("model.shop.a", status)) == [f"model a: {status}. See models/a.sql."]


def test_a_failed_test_is_told_as_one() -> None:
    found = result("test.shop.t", "fail", "Got 2 results, configured to fail if != 0")

    assert held(["test.shop.t"], found, returncode=1) == [
        "test t: Got 2 results, configured to fail if != 0. See tests/t.sql."
    ]


def test_a_unit_test_is_found_by_dbts_own_id() -> None:
    selected = ["test.unit_test.shop.a.adds_up"]

    assert held(selected, result("unit_test.shop.a.adds_up", "pass")) == []
    assert held(selected, result("unit_test.shop.a.adds_up", "fail", "off by one"), returncode=1) == [
        "test adds_up: off by one. See models/unit_tests.yml."
    ]


def test_what_was_skipped_is_told_after_what_failed() -> None:
    found = {
        **result("model.shop.b", "skipped"),
        **result("model.shop.a", "error", "no"),
        **result("seed.shop.s", "success"),
    }

    assert held(["model.shop.b", "seed.shop.s", "model.shop.a"], found, returncode=1) == [
        "model a: no. See models/a.sql.",
        "b: skipped, because of the above. Build again once mended.",
    ]


def test_what_was_skipped_is_a_failure_even_when_nothing_else_failed() -> None:
    assert held(["model.shop.a"], result("model.shop.a", "skipped")) != []


def test_what_dbt_passed_over_in_silence_is_a_failure() -> None:
    [told] = held(["model.shop.a", "seed.shop.s", "model.shop.b"], result("model.shop.a", "success"))

    assert told.startswith("s, b: was selected, but dbt did not run it.")


def test_an_ephemeral_model_need_not_be_run() -> None:
    assert held(["model.shop.a", "model.shop.e"], result("model.shop.a", "success")) == []


def test_nothing_selected_and_nothing_done_is_well() -> None:
    assert held([], {}) == []


def test_when_dbt_dies_before_it_began_its_words_are_told_once() -> None:
    errors = ["Compilation Error\n  in model a", "Compilation Error\n  in model a", "and more"]

    assert held(["model.shop.a"], {}, errors, 2) == ["dbt: Compilation Error in model a and more. See the run's log."]


@pytest.mark.parametrize("returncode", [1, 2, -9, 137])
def test_when_dbt_dies_without_a_word_its_exit_code_is_told(returncode: int) -> None:
    assert held(["model.shop.a"], {}, [], returncode) == [
        f"dbt: it ended with exit code {returncode}. See the run's log."
    ]


def test_when_dbt_dies_in_the_middle_what_is_missing_is_told_too() -> None:
    told = held(["model.shop.a", "model.shop.b"], result("model.shop.a", "success"), [], -9)

    assert told[0] == "dbt: it ended with exit code -9. See the run's log."
    assert told[1].startswith("b: was selected, but dbt did not run it.")


def test_a_process_that_ended_well_without_results_built_nothing() -> None:
    [told] = held(["model.shop.a"], {}, [], 0)

    assert told.startswith("a: was selected, but dbt did not run it.")


def test_a_hook_that_failed_fails_the_run() -> None:
    found = {**result("model.shop.a", "success"), **result("operation.shop.shop-on-run-end-0", "error", "no grant")}

    assert held(["model.shop.a"], found, [], 1) == ["operation.shop.shop-on-run-end-0: no grant. See the run's log."]


def test_a_long_list_and_a_long_message_are_cut() -> None:
    parts = [node("model", f"m{number}") for number in range(30)]
    [problem] = held_to_selection(slim(manifest(*parts)), [part["unique_id"] for part in parts], {}, [], 0)
    assert problem.where.endswith("m19 and 10 more")

    [told] = held(["model.shop.a"], result("model.shop.a", "error", "x" * 5000))
    assert len(told) < 2100


def test_a_recorded_build_is_told_as_it_went() -> None:
    kept = shop_slim()

    problems = held_to_selection(kept, list(kept["nodes"]), shop_results(), [], 1)

    assert [problem.where for problem in problems] == [
        "model broken",
        "test accepted_values_customer_totals_total__False__30",
        "after_broken",
    ]
    assert "no_such_column" in problems[0].what
    assert "\n" not in problems[0].what
    assert problems[1].what == "Got 2 results, configured to fail if != 0"


# ---- Reading. ----


def test_results_are_read_by_dbts_id_and_their_absence_is_no_error(tmp_path: Path) -> None:
    assert read_results(tmp_path) == {}
    file = tmp_path / "run_results.json"
    for broken in ("", "{", "{}"):
        file.write_text(broken)
        assert read_results(tmp_path) == {}
    file.write_text(json.dumps({"results": [{"unique_id": "model.shop.a", "status": "success"}]}))
    assert read_results(tmp_path)["model.shop.a"]["status"] == "success"


# ---- A refused login. ----


def profile(adapter: str) -> Profile:
    identity = "account acme-north, user DBT, role BUILDER, key SHA256:abc"
    return Profile("p", "prod", ("prod",), adapter, "", "", {}, identity)


@pytest.mark.parametrize(
    "told",
    [
        "Database Error\n  250001 (08001): Failed to connect to DB: acme. JWT token is invalid. [abc]",
        "390144 (08004): JWT token is invalid.",
        "Incorrect username or password was specified.",
        "250001 (08001): None: Failed to connect to DB: verify the account name is correct: acme HTTP 403: Forbidden",
        "User access disabled. Contact your local system administrator.",
        "Role 'NOBODY' specified in the connect string does not exist or not authorized.",
    ],
)
def test_a_refused_login_says_who_asked(told: str) -> None:
    problem = connection_refused(profile("snowflake"), ["something else", told])

    assert isinstance(problem, Problem)
    assert "refused the connection of account acme-north, user DBT, role BUILDER, key SHA256:abc: " in problem.what
    assert "\n" not in problem.what


def test_other_errors_and_other_warehouses_are_no_refused_login() -> None:
    assert connection_refused(profile("snowflake"), []) is None
    assert connection_refused(profile("snowflake"), ["SQL compilation error: 390 rows", "code 3901440"]) is None
    assert connection_refused(profile("duckdb"), ["Failed to connect to DB"]) is None
