"""What OpenLineage's receiver is told of a tenant's build, held to OpenLineage's own schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from tests.support.openlineage import Receiver, problems_of, receiving
from tests.support.tenant_folders import TenantFolders

FILES = {
    "seeds/raw_orders.csv": "id,customer,amount\n1,a,100\n2,b,250\n3,,70\n",
    "models/stg_orders.sql": """
with source as (select * from {{ ref('raw_orders') }}),
renamed as (select id as order_id, customer, amount / 100 as amount from source)
select * from renamed
""",
    "models/between.sql": "{{ config(materialized='ephemeral') }} select order_id, amount from {{ ref('stg_orders') }}",
    "models/orders.sql": """
{{ config(materialized='table') }}
select between.order_id, between.amount, staged.customer as who
from {{ ref('between') }} as between join {{ ref('stg_orders') }} as staged using (order_id)
""",
    "snapshots/kept.sql": """
{% snapshot kept %}
{{ config(unique_key='order_id', strategy='check', check_cols='all', target_schema='main') }}
select * from {{ ref('orders') }}
{% endsnapshot %}
""",
    "models/from_kept.sql": "select order_id, dbt_valid_from from {{ ref('kept') }}",
    "models/broken.sql": "select no_such_column from {{ ref('orders') }}",
    "models/after.sql": "select * from {{ ref('broken') }}",
    "tests/none_is_dear.sql": "select * from {{ ref('orders') }} where amount > 1000",
    "models/models.yml": """
models:
  - name: orders
    description: What was ordered.
    columns:
      - {name: order_id, data_type: integer, description: Its number., data_tests: [not_null, unique]}
      - {name: who, data_tests: [{not_null: {config: {severity: warn}}}]}
""",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiver, dg.ExecuteInProcessResult]]:
    """The tenant `acme`, built once, of which one model fails."""
    with receiving() as receiver:
        folders = TenantFolders(tmp_path_factory.mktemp("lineage"), OPENLINEAGE_URL=receiver.url)
        folders.write("acme", FILES)
        yield receiver, folders.build("acme")


@pytest.fixture
def receiver(built: tuple[Receiver, dg.ExecuteInProcessResult]) -> Receiver:
    return built[0]


def table(dataset: dict[str, Any]) -> str:
    return str(dataset["name"])


def test_every_event_and_facet_is_as_the_specification_says(receiver: Receiver) -> None:
    assert [problem for event in receiver.events for problem in problems_of(event)] == []


def test_the_run_begins_and_ends_and_between_stand_all_that_was_built_and_tested(receiver: Receiver) -> None:
    kinds = receiver.kinds()
    assert kinds[0] == ("acme.build", "START")
    assert kinds[-1] == ("acme.build", "FAIL")
    ends = dict(kinds[1:-1])
    assert ends == {
        "acme.seed.shop.raw_orders": "COMPLETE",
        "acme.model.shop.stg_orders": "COMPLETE",
        "acme.model.shop.orders": "COMPLETE",
        "acme.model.shop.orders.test": "COMPLETE",
        "acme.test.shop.none_is_dear": "COMPLETE",
        "acme.snapshot.shop.kept": "COMPLETE",
        "acme.model.shop.from_kept": "COMPLETE",
        "acme.model.shop.broken": "FAIL",
    }
    assert sorted(kind for _, kind in kinds[1:-1]).count("START") == len(ends)


def test_a_receiver_can_follow_from_each_model_to_dagsters_run(
    built: tuple[Receiver, dg.ExecuteInProcessResult],
) -> None:
    receiver, result = built
    assert receiver.of("acme.build", "START")["run"]["runId"] == result.run_id
    parents = [event["run"]["facets"]["parent"] for event in receiver.events[1:-1]]
    assert {parent["run"]["runId"] for parent in parents} == {result.run_id}
    assert {(parent["job"]["namespace"], parent["job"]["name"]) for parent in parents} == {("apollo", "acme.build")}


def test_inputs_and_outputs_are_the_warehouses_tables_and_ephemeral_models_are_looked_through(
    receiver: Receiver,
) -> None:
    tables = {
        event["job"]["name"].split(".")[-1]: ([*map(table, event["inputs"])], [*map(table, event["outputs"])])
        for event in receiver.events[1:-1]
        if event["eventType"] == "COMPLETE" and event["job"]["facets"]["jobType"]["jobType"] != "TEST"
    }
    assert tables == {
        "raw_orders": ([], ["acme.main.raw_orders"]),
        "stg_orders": (["acme.main.raw_orders"], ["acme.main.stg_orders"]),
        "orders": (["acme.main.stg_orders"], ["acme.main.orders"]),
        "kept": (["acme.main.orders"], ["acme.main.kept"]),
        "from_kept": (["acme.main.kept"], ["acme.main.from_kept"]),
    }


def test_columns_are_followed_through_stars_and_ephemeral_models_to_the_parents_table(receiver: Receiver) -> None:
    def origins(model: str) -> dict[str, list[tuple[str, str]]]:
        [output] = receiver.of(f"acme.model.shop.{model}", "COMPLETE")["outputs"]
        fields = output["facets"]["columnLineage"]["fields"]
        return {name: [(one["name"], one["field"]) for one in field["inputFields"]] for name, field in fields.items()}

    raw, staged = "acme.main.raw_orders", "acme.main.stg_orders"
    assert origins("stg_orders") == {
        "order_id": [(raw, "id")],
        "customer": [(raw, "customer")],
        "amount": [(raw, "amount")],
    }
    assert origins("orders") == {
        "order_id": [(staged, "order_id")],
        "amount": [(staged, "amount")],
        "who": [(staged, "customer")],
    }


def test_the_schema_has_what_is_declared_and_what_is_selected_beside_it(receiver: Receiver) -> None:
    [output] = receiver.of("acme.model.shop.orders", "COMPLETE")["outputs"]
    fields = output["facets"]["schema"]["fields"]
    assert {field["name"]: (field.get("type"), field.get("description")) for field in fields} == {
        "order_id": ("integer", "Its number."),
        "who": (None, None),
        "amount": (None, None),
    }
    assert output["facets"]["documentation"]["description"] == "What was ordered."


def test_dbts_tests_are_assertions_with_severity_and_counts(receiver: Receiver) -> None:
    [dataset] = receiver.of("acme.model.shop.orders.test", "COMPLETE")["inputs"]
    assertions = dataset["inputFacets"]["dataQualityAssertions"]["assertions"]
    told = {
        (one["assertion"], one.get("column")): (one["success"], one["severity"], one["actual"]) for one in assertions
    }
    assert told == {
        ("not_null", "order_id"): (True, "error", "0"),
        ("unique", "order_id"): (True, "error", "0"),
        ("not_null", "who"): (False, "warn", "1"),
        ("none_is_dear", None): (True, "error", "0"),
    }
    metrics = dataset["inputFacets"]["dataQualityMetrics"]["columnMetrics"]
    assert {column: counts["nullCount"] for column, counts in metrics.items()} == {"order_id": 0, "who": 1}


def test_a_model_that_fails_has_the_databases_own_words_and_no_output(receiver: Receiver) -> None:
    failed = receiver.of("acme.model.shop.broken", "FAIL")
    assert 'Referenced column "no_such_column" not found' in failed["run"]["facets"]["errorMessage"]["message"]
    assert failed["outputs"] == []


def test_what_dbt_skipped_is_not_told_as_run(receiver: Receiver) -> None:
    assert [job for job, _ in receiver.kinds() if job.endswith(".after")] == []
