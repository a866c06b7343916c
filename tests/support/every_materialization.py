"""A dbt project for DuckDB with a model of every materialization, and everything that can become of a node."""

from __future__ import annotations

TENANT = "mix"
PROJECT = """\
name: mix
version: 1.0.0
profile: mix
on-run-start: create table if not exists main.landed as select 1 as id
snapshots:
  +snapshot_meta_column_names: {dbt_valid_to: until}
"""
# So that a build is two invocations of dbt.
CONFIG = "warehouse: duckdb\nseeds_first: true\n"
SCHEMA = """\
sources:
  - name: loaded
    schema: main
    tables:
      - name: landed
models:
  - name: viewed
    config: {tags: [nightly], meta: {owner: sales}}
    columns:
      - name: id
        data_tests: [unique, not_null]
  - name: fails_its_test
    columns:
      - name: v
        data_tests: [not_null]
  - name: warns
    columns:
      - name: v
        data_tests:
          - not_null: {config: {severity: warn}}
  - name: contracted
    config: {contract: {enforced: true}}
    columns:
      - {name: id, data_type: integer}
unit_tests:
  - name: doubled_is_twice
    model: doubled
    given:
      - input: ref('viewed')
        rows: [{id: 1, v: 2}]
    expect:
      rows: [{id: 1, v: 4}]
"""
INCREMENTAL = """\
{{ config(materialized='incremental', unique_key='id') }}
select id, v from {{ ref('viewed') }} {% if is_incremental() %} where id > 1 {% endif %}
"""
SNAPSHOT = """\
{% snapshot remembered %}
{{ config(target_schema='main', unique_key='id', strategy='check', check_cols=['v']) }}
select id, v from {{ ref('viewed') }}
{% endsnapshot %}
"""
PYTHON = """\
def model(dbt, session):
    dbt.config(materialized="table")
    dbt.ref("viewed")
    return session.sql("select 1 as id")
"""

FILES = {
    "dbt_project.yml": PROJECT,
    "tenant.yaml": CONFIG,
    "seeds/raw.csv": "id,v\n1,1\n2,2\n3,\n",
    "models/schema.yml": SCHEMA,
    "models/viewed.sql": "select id, v from {{ ref('raw') }}",
    "models/tabled.sql": "{{ config(materialized='table') }} select * from {{ ref('viewed') }}",
    "models/passing_through.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('viewed') }}",
    "models/doubled.sql": "select id, v * 2 as v from {{ ref('viewed') }}",
    "models/of_ephemeral.sql": "{{ config(materialized='table') }} select * from {{ ref('passing_through') }}",
    "models/increased.sql": INCREMENTAL,
    "models/in_python.py": PYTHON,
    "models/contracted.sql": "{{ config(materialized='table') }} select id::integer as id from {{ ref('viewed') }}",
    "models/of_a_source.sql": "select * from {{ source('loaded', 'landed') }}",
    "models/warns.sql": "select id, v from {{ ref('raw') }}",
    "models/fails_its_test.sql": "select id, v from {{ ref('raw') }}",
    "models/after_the_failed_test.sql": "select * from {{ ref('fails_its_test') }}",
    "models/fails.sql": "select no_such_column from {{ ref('viewed') }}",
    "models/after_the_failed_model.sql": "select * from {{ ref('fails') }}",
    "models/turned_off.sql": "{{ config(enabled=false) }} select 1 as id",
    "snapshots/remembered.sql": SNAPSHOT,
    "tests/tabled_is_not_empty.sql": "select 1 from {{ ref('tabled') }} having count(*) = 0",
}
UNIT_TEST = "doubled_is_twice"
# What of it ends well.
WELL = ("raw", "viewed", "tabled", "doubled", "of_ephemeral", "increased", "in_python", "contracted", "remembered")
