"""What real dbt projects bring, served and built on DuckDB: odd names, odd tests, odd folders, odd flags."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from dagster_apollo.dbt.manifest import is_asset, slim_id
from tests.support.tenant_folders import (
    ON_DUCKDB,
    TenantFolders,
    build,
    dbt_project,
    evaluated,
    failures,
    materialized,
)

ONE = "select 1 as id\n"


def dbt_manifest(tenants: TenantFolders, name: str) -> dict[str, Any]:
    """dbt's own manifest, as the preparation left it."""
    file = tenants.state_dir / "tenants" / name / "prepared" / "local" / "manifest.json"
    manifest: dict[str, Any] = orjson.loads(file.read_bytes())
    return manifest


def assert_nothing_is_missing(
    definitions: dg.Definitions,
    manifest: Mapping[str, Any],
    refers_to_nothing: set[str] = frozenset(),  # type: ignore[assignment]
) -> None:
    """Every node and source of dbt's manifest is an asset, every test a check, but for tests that refer to nothing."""
    graph = definitions.resolve_asset_graph()
    told = {
        spec.metadata["dagster_dbt/unique_id"]: spec.key
        for assets in definitions.assets or []
        for spec in ([assets] if isinstance(assets, dg.AssetSpec) else assets.specs)
    }
    built = {key for key, node in manifest["nodes"].items() if is_asset(node)}
    assert built - told.keys() == set()
    assert {told[key] for key in built} <= set(graph.materializable_asset_keys)
    tables = {(node["schema"], node.get("alias") or node["name"]) for key in built for node in [manifest["nodes"][key]]}
    read = {
        key for key, source in manifest["sources"].items() if (source["schema"], source["identifier"]) not in tables
    }
    assert read - told.keys() == set()
    assert {told[key] for key in read} <= set(graph.external_asset_keys)
    assert len(set(told.values())) == len(told)
    checks = {
        (spec.metadata or {}).get("dagster_dbt/unique_id")
        for key in graph.asset_check_keys
        for spec in [graph.get_check_spec(key)]
    }
    # dbt leaves a test that refers to a disabled model among the nodes, and never runs it.
    runnable = {key: node for key, node in manifest["nodes"].items() if node["config"]["enabled"]}
    tests = {key for key, node in runnable.items() if node["resource_type"] == "test"}
    tests |= {slim_id(key) for key in manifest["unit_tests"]}
    assert {key.split(".")[2] for key in tests - checks} == set(refers_to_nothing)


ODD_NAMES = {
    "dbt_project.yml": dbt_project(
        on_run_start=[
            'create schema if not exists raw; create table if not exists raw."GROUP" as select 1 as id',
            'create schema if not exists "<env> raw"; '
            'create table if not exists "<env> raw"."GROUP" as select 1 as id; '
            'create table if not exists "<env> raw"."daily-sales 2024.v1" as select 1 as id, localtimestamp as seen',
        ],
        packages_install_path="dbt_packages/of others",
        flags={"require_resource_names_without_spaces": False},
    ),
    "packages.yml": "packages:\n  - local: pack\n",
    "models/orders.sql": "{{ config(schema='raw') }} select * from {{ source('raw', 'GROUP') }}\n",
    "models/daily.sql": "select * from {{ source('of <env>', 'daily-sales 2024.v1') }}\n",
    "models/größe.sql": "select * from {{ ref('orders') }}\n",
    "models/cart.sql": ONE,
    "models/cart_items.sql": ONE,
    "models/sources.yml": """
sources:
  - name: raw
    tables:
      - name: orders
        identifier: orders_of_old
      - name: GROUP
        quoting: {identifier: true}
        columns: [{name: id, data_tests: [{unique: {name: "is it / really. unique?"}}]}]
  - name: of <env>
    schema: <env> raw
    quoting: {schema: true, identifier: true}
    tables:
      - name: daily-sales 2024.v1
        config: {loaded_at_field: seen, freshness: {warn_after: {count: 1, period: day}}}
        columns: [{name: id, data_tests: [not_null]}]
      - name: nobody reads-this
        identifier: GROUP
        columns: [{name: id, data_tests: [not_null]}]
""",
    # `orders` with the check `items_ok` and `orders_items` with the check `ok` would be one name to an op.
    "tests/items_ok.sql": "select * from {{ ref('cart') }} where false",
    "tests/ok.sql": "select * from {{ ref('cart_items') }} where false",
    "tests/cart.sql": "select * from {{ ref('cart') }} where id is null",
    "tests/no blanks, please.sql": "select * from {{ ref('größe') }} where false",
    "pack/dbt_project.yml": dbt_project("pack"),
    "pack/seeds/orders.csv": "id\n1\n",
    "pack/seeds/seeds.yml": "seeds: [{name: orders, config: {schema: raw, alias: seeded_orders}}]\n",
    "pack/models/sources.yml": "sources: [{name: raw, tables: [{name: orders, identifier: orders_of_pack}]}]\n",
}


def test_names_that_dagster_refuses_and_names_that_meet_are_respelt_and_built(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("client", ODD_NAMES)
    before = tenants.files("client")

    definitions = tenants.load("client")
    result = build(definitions, "client")

    assert result.success, failures(result)
    assert_nothing_is_missing(definitions, dbt_manifest(tenants, "client"))
    # The model keeps the plain key; the seed and the two sources of that key tell what they are.
    assert materialized(result) == {"raw/orders", "raw/orders_seed", "daily", "gr__e", "cart", "cart_items"}
    external = {key.to_user_string() for key in definitions.resolve_asset_graph().external_asset_keys}
    assert external == {
        "client/raw/orders_source_shop",
        "client/raw/orders_source_pack",
        "client/raw/GROUP",
        "client/of__env_/daily_sales_2024_v1",
        "client/of__env_/nobody_reads_this",
    }
    outcomes = evaluated(result)
    assert set(outcomes.values()) == {True}
    assert {name.split(":")[1] for name in outcomes} >= {"cart", "items_ok", "no_blanks__please"}
    # Of two checks that an op would not know apart, both are there.
    assert len([name for name in outcomes if name.startswith("cart_items:ok_")]) == 1
    assert "raw/GROUP:is_it___really__unique_" in outcomes
    with dg.DagsterInstance.ephemeral() as instance:
        fresh = definitions.resolve_job_def("client__freshness").execute_in_process(instance=instance)
    assert evaluated(fresh) == {"of__env_/daily_sales_2024_v1:source_freshness": True}
    assert tenants.files("client") == before


ODD_TESTS = {
    "dbt_project.yml": dbt_project(models={"pack": {"disabled_model": {"+enabled": False}}}),
    "packages.yml": "packages:\n  - local: pack\n",
    "models/orders.sql": ONE,
    "models/orders/x.sql": "select * from {{ ref('thin') }}\n",
    "models/y.sql": "{{ config(materialized='table') }} select * from {{ ref('orders') }}\n",
    "models/thin.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('orders') }}\n",
    "models/alone.sql": "{{ config(materialized='ephemeral') }} select 1 as id\n",
    "models/left_out.sql": "{{ config(enabled=false) }} select 1 as id\n",
    "models/models.yml": """
models:
  - name: orders
    columns: [{name: id, data_tests: [unique, {accepted_values: {arguments: {values: [2]}, config: {severity: warn}}}]}]
  - name: thin
    columns: [{name: id, data_tests: [not_null]}]
  - name: left_out
    columns: [{name: id, data_tests: [not_null]}]
unit_tests:
  - name: passes on what it is given
    model: y
    given: [{input: ref('orders'), rows: [{id: 7}]}]
    expect: {rows: [{id: 7}]}
""",
    "tests/both.sql": "select id from {{ ref('orders') }} except select id from {{ ref('x') }}",
    "tests/the_world_is_round.sql": "select 1 where false",
    "tests/only_ephemeral.sql": "select * from {{ ref('alone') }} where id is null",
    "pack/dbt_project.yml": dbt_project("pack"),
    "pack/models/disabled_model.sql": ONE,
    "pack/models/enabled_model.sql": ONE,
    "pack/models/models.yml": """
models:
  - name: disabled_model
    columns: [{name: id, data_tests: [unique, {relationships: {arguments: {to: ref('enabled_model'), field: id}}}]}]
  - name: enabled_model
    columns: [{name: id, data_tests: [{relationships: {arguments: {to: ref('disabled_model'), field: id}}}]}]
""",
}


def test_every_test_runs_and_counts_wherever_it_is_attached(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("client", ODD_TESTS)
    definitions = tenants.load("client")
    result = build(definitions, "client")

    assert result.success, failures(result)
    nothing = {"the_world_is_round", "only_ephemeral"}
    assert_nothing_is_missing(definitions, dbt_manifest(tenants, "client"), nothing)
    assert materialized(result) == {"orders", "x", "y", "enabled_model"}
    outcomes = evaluated(result)
    assert outcomes.pop("orders:accepted_values_orders_id__2") is False  # it warns, and the run is green all the same
    assert set(outcomes.values()) == {True}
    assert set(outcomes) >= {
        "orders:unique_orders_id",
        "y:passes_on_what_it_is_given",
        "x:both",
        "orders:not_null_thin_id",
    }
    # Each result is told once.
    assert len(result.get_asset_check_evaluations()) == len(outcomes) + 1

    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        one = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["client", "orders"])])
    assert materialized(one) == {"orders"}


def test_a_test_that_refers_to_nothing_fails_the_run_when_it_fails(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("client", {"models/orders.sql": ONE, "tests/the_world_is_flat.sql": "select 1"})
    result = tenants.build("client")
    assert not result.success
    assert "the_world_is_flat" in failures(result)
    assert materialized(result) == {"orders"}


EVERYTHING_DBT_HAS = {
    "tenant.yaml": ON_DUCKDB + "project: project\nenvironment: {REGION: north}\n",
    "project/dbt_project.yml": dbt_project(
        "dbt_project",
        target_path="../../../outside",
        log_path="../../../outside_too",
        on_run_end="create or replace table hooked as select 1 as id; create or replace table twice as select 2 as id",
        query_comment="by {{ target.name }}",
        flags={
            "write_json": False,
            "log_format": "text",
            "send_anonymous_usage_stats": True,
            "indirect_selection": "buildable",
        },
    ),
    # Were it read, dbt would print another tenant's key as the database's path.
    "project/profiles.yml": """
shop: {target: local, outputs: {local: {type: duckdb, path: "{{ env_var('OTHER__SNOWFLAKE_PRIVATE_KEY_PEM') }}"}}}
""",
    "project/selectors.yml": "selectors: [{name: few, default: true, definition: {method: fqn, value: model_of_v}}]\n",
    "project/packages.yml": "packages:\n  - local: ../vendored\n",
    "vendored/.gitignore": "*\n",
    "vendored/dbt_project.yml": dbt_project("vendored"),
    "vendored/macros/twice.sql": "{% macro twice(x) %}{{ x }} * 2{% endmacro %}",
    "project/macros/as_copy.sql": """
{% materialization as_copy, default %}
  {%- set target_relation = this.incorporate(type='table') -%}
  {% call statement('main') %}create or replace table {{ target_relation }} as {{ sql }}{% endcall %}
  {{ adapter.commit() }}
  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
""",
    "project/models/copied.sql": "{{ config(materialized='as_copy') }} select {{ vendored.twice(21) }} as id\n",
    "project/models/model_of_v_v1.sql": "select 1 as id\n",
    "project/models/model_of_v_v2.sql": "select 2 as id, '{{ env_var('REGION') }}' as region\n",
    "project/models/by_day.sql": """
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='day', batch_size='day',
          begin=(modules.datetime.datetime.now() - modules.datetime.timedelta(days=2)).strftime('%Y-%m-%d')) }}
select current_date as day
""",
    "project/models/kept.sql": "{{ config(materialized='table') }} select * from {{ ref('model_of_v', v=1) }}\n",
    "project/models/metricflow_time_spine.sql": "select current_date as date_day\n",
    "project/models/models.yml": """
groups: [{name: our group, owner: {name: The Team, email: team@example.com}}]
models:
  - name: kept
    config: {group: our group, contract: {enforced: true}, tags: ["a tag, with/odd letters"]}
    columns: [{name: id, data_type: integer, constraints: [{type: not_null}]}]
  - name: model_of_v
    latest_version: 2
    versions: [{v: 1}, {v: 2}]
    columns: [{name: id, data_tests: [unique]}]
  - name: metricflow_time_spine
    time_spine: {standard_granularity_column: date_day}
    columns: [{name: date_day, granularity: day}]
  - name: copied
    meta: {dagster: {group: "odd group", owners: ["The Team"]}}
semantic_models:
  - name: kept
    model: ref('kept')
    defaults: {agg_time_dimension: at}
    entities: [{name: id, type: primary}]
    dimensions: [{name: at, type: time, expr: current_date, type_params: {time_granularity: day}}]
    measures: [{name: how_many, agg: count, expr: id}]
metrics: [{name: how_many, label: How many, type: simple, type_params: {measure: how_many}}]
saved_queries: [{name: all_of_it, query_params: {metrics: [how_many]}}]
exposures: [{name: board, type: dashboard, owner: {name: X}, depends_on: [ref('kept'), metric('how_many')]}]
snapshots:
  - name: kept_history
    relation: ref('kept')
    config: {strategy: check, unique_key: id, check_cols: all}
""",
}


def test_all_that_dbt_can_declare_is_served_and_nothing_is_written_where_it_does_not_belong(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path, OTHER__SNOWFLAKE_PRIVATE_KEY_PEM="another tenant's key")
    tenants.write("client", EVERYTHING_DBT_HAS, as_it_is=True)
    tenants.write("other", {"models/orders.sql": ONE})
    before = tenants.files("client")

    definitions = tenants.load("client")
    result = build(definitions, "client")

    assert result.success, failures(result)
    assert_nothing_is_missing(definitions, dbt_manifest(tenants, "client"))
    assert materialized(result) == {
        "copied", "model_of_v_v1", "model_of_v_v2", "by_day", "kept", "kept_history", "metricflow_time_spine",
    }  # fmt: skip
    assert set(evaluated(result)) == {"model_of_v_v1:unique_model_of_v_v1_id", "model_of_v_v2:unique_model_of_v_v2_id"}
    assert tenants.rows("client", "select id from copied union all select id from twice") == [
        (42,),
        (2,),
    ]
    assert tenants.rows("client", "select region from model_of_v_v2") == [("north",)]
    assert tenants.files("client") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "tenants"]
    assert not Path("../../../outside_too").exists()
    assert list((tenants.state_dir / "tenants" / "client" / "runs").iterdir()) == []


FILLED_BY_SEEDS = {
    "models/stg_orders.sql": "{{ config(materialized='table') }} select * from {{ source('raw', 'orders') }}\n",
    "models/sources.yml": """
sources:
  - name: raw
    schema: main
    tables: [{name: orders, identifier: raw_orders, columns: [{name: id, data_tests: [unique]}]}]
""",
    "seeds/raw_orders.csv": "id\n1\n2\n",
    "seeds/seeds.yml": "seeds: [{name: raw_orders, columns: [{name: id, data_tests: [not_null]}]}]\n",
    # Reads what the project itself writes: its own ancestor, did the lineage go through.
    "models/history.sql": "{{ config(materialized='incremental') }} select 1 as id "
    "{% if is_incremental() %} union all select id + 1 from {{ source('own', 'history') }} {% endif %}\n",
    "models/own.yml": "sources: [{name: own, schema: main, tables: [{name: history}]}]\n",
}


def test_seeds_that_fill_sources_come_first_on_an_empty_database_and_no_test_is_lost(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("client", {**FILLED_BY_SEEDS, "tests/the_world_is_round.sql": "select 1 where false"})
    definitions = tenants.load("client")
    result = build(definitions, "client")
    assert result.success, failures(result)
    assert_nothing_is_missing(definitions, dbt_manifest(tenants, "client"), {"the_world_is_round"})
    assert materialized(result) == {"raw_orders", "stg_orders", "history"}
    assert set(evaluated(result)) == {
        "raw_orders:not_null_raw_orders_id",
        "raw_orders:source_unique_raw_orders_id",
    }
    parents = definitions.resolve_asset_graph().get(dg.AssetKey(["client", "stg_orders"])).parent_keys
    assert parents == {dg.AssetKey(["client", "raw_orders"])}

    (tenants.tenants_dir / "client" / "tests" / "the_world_is_round.sql").write_text("select 1")
    again = tenants.build("client")
    assert not again.success
    assert "the_world_is_round" in failures(again)


def test_an_on_run_start_that_fails_fails_the_run(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write(
        "client", {"dbt_project.yml": dbt_project(on_run_start="select * from nowhere"), "models/orders.sql": ONE}
    )
    result = tenants.build("client")
    assert not result.success
    assert "nowhere" in failures(result)


def test_a_project_that_knows_only_qa_and_prod_is_built_under_its_own_names(tmp_path: Path) -> None:
    allowed = "{% if target.name not in ['qa', 'dev', 'prod'] %}{{ exceptions.raise_compiler_error('no') }}{% endif %}"
    tenants = TenantFolders(tmp_path)
    tenants.write(
        "client",
        {
            "tenant.yaml": ON_DUCKDB + "target_names: {local: qa}\ndbt_version_check: false\n",
            "dbt_project.yml": dbt_project(require_dbt_version=["<1.5.0"]),
            "models/orders.sql": allowed + "select '{{ target.name }}' as target\n",
        },
    )
    result = tenants.build("client")
    assert result.success, failures(result)
    assert tenants.rows("client", "select target from orders") == [("qa",)]


def test_a_folder_that_was_copied_finds_its_own_packages_again(tmp_path: Path) -> None:
    first, second = TenantFolders(_made(tmp_path / "first")), TenantFolders(_made(tmp_path / "second"))
    files = {
        "packages.yml": "packages:\n  - local: pack\n",
        "models/orders.sql": "select {{ pack.one() }} as id\n",
        "pack/dbt_project.yml": dbt_project("pack"),
        "pack/macros/one.sql": "{% macro one() %}1{% endmacro %}",
    }
    folder = first.write("client", files)
    assert first.build("client").success
    subprocess.run(["cp", "-a", str(folder), str(second.tenants_dir / "client")], check=True)
    macro = second.tenants_dir / "client" / "pack" / "macros" / "one.sql"
    macro.write_text("{% macro one() %}2{% endmacro %}")
    assert second.build("client").success
    assert second.rows("client", "select id from orders") == [(2,)]

    # Moved, not copied: what it was linked to is gone.
    subprocess.run(["mv", str(second.tenants_dir / "client"), str(second.tenants_dir / "customer")], check=True)
    assert second.build("customer").success

    # A package that changed makes a new manifest.
    pack = second.tenants_dir / "customer" / "pack"
    (pack / "models").mkdir()
    (pack / "models" / "more.sql").write_text(ONE)
    assert "more" in {key.path[-1] for key in second.load("customer").resolve_asset_graph().materializable_asset_keys}


def test_one_project_is_chosen_among_two(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write(
        "client",
        {
            "tenant.yaml": ON_DUCKDB + "project: two\n",
            "one/dbt_project.yml": dbt_project("one"),
            "one/models/of_one.sql": ONE,
            "two/dbt_project.yml": dbt_project("two"),
            "two/models/of_two.sql": ONE,
        },
        as_it_is=True,
    )
    result = tenants.build("client")
    assert result.success, failures(result)
    assert materialized(result) == {"of_two"}


def test_a_tenants_own_python_stands_beside_its_dbt_project_and_may_refer_to_it(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write(
        "client",
        {
            "models/orders.sql": ONE,
            "definitions.py": """
import dagster as dg

@dg.asset(key=["client", "counted"], deps=[dg.AssetKey(["client", "orders"])])
def counted(): ...

both = dg.define_asset_job("client__both", selection=dg.AssetSelection.assets(["client", "orders"], counted))
defs = dg.Definitions(assets=[counted], jobs=[both])
""",
        },
    )
    definitions = tenants.load("client")
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("client__both").execute_in_process(instance=instance)
    assert materialized(result) == {"orders", "counted"}


def test_what_its_own_python_returns_is_kept_in_the_tenants_state_folder_and_read_again(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write(
        "client",
        {
            "definitions.py": """
import dagster as dg

@dg.asset(key=["client", "counted"])
def counted() -> int:
    return 7

@dg.asset(key=["client", "doubled"], ins={"counted": dg.AssetIn(key=["client", "counted"])})
def doubled(counted: int) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"doubled": 2 * counted})

own = dg.define_asset_job("client__own", selection=[counted, doubled])
defs = dg.Definitions(assets=[counted, doubled], jobs=[own])
""",
        },
    )
    # In a deployment this folder is the daemon's, and closed to tenants: nothing may be wanted of it.
    elsewhere = _made(tmp_path / "daemon")
    with dg.DagsterInstance.ephemeral(tempdir=str(elsewhere)) as instance:
        result = tenants.load("client").resolve_job_def("client__own").execute_in_process(instance=instance)

    assert materialized(result) == {"counted", "doubled"}
    assert (tenants.state_dir / "outputs" / "client" / "counted").is_file()
    assert not list(elsewhere.rglob("counted*"))


def test_a_tenant_may_bring_an_io_manager_of_its_own(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write(
        "client",
        {
            "definitions.py": """
import dagster as dg

@dg.asset(key=["client", "counted"])
def counted() -> int:
    return 7

own = dg.define_asset_job("client__own", selection=[counted])
defs = dg.Definitions(assets=[counted], jobs=[own], resources={"io_manager": dg.mem_io_manager})
""",
        },
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = tenants.load("client").resolve_job_def("client__own").execute_in_process(instance=instance)

    assert materialized(result) == {"counted"}
    assert not (tenants.state_dir / "outputs").exists()


@pytest.mark.parametrize("text", ["{}", "-- nothing\n"])
def test_a_project_without_models_is_served_and_empty(tmp_path: Path, text: str) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("client", {"analyses/a.sql": text})
    assert not tenants.load("client").resolve_asset_graph().get_all_asset_keys()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
