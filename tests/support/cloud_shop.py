"""A dbt project for tests of dbt Cloud: a seed, a view, a table on it, a model beside them, tests of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.dbt_cloud import NUMBERS
from tests.support.tenant_folders import dbt_project

TENANT = f"warehouse: dbt_cloud\ndbt_cloud: {NUMBERS}\nschedule: null\n"
PROJECT: Mapping[str, str] = {
    "dbt_project.yml": dbt_project(),
    "seeds/raw_orders.csv": "id,amount\n1,10\n2,20\n",
    "models/staging/stg_orders.sql": "select id, amount from {{ ref('raw_orders') }}\n",
    "models/marts/order_count.sql": (
        "{{ config(materialized='table') }} select count(*) as n from {{ ref('stg_orders') }}\n"
    ),
    "models/marts/lonely.sql": "select 1 as id\n",
    "models/models.yml": """
models:
  - name: stg_orders
    description: Orders as they came.
    columns:
      - name: id
        data_tests: [unique, not_null]
unit_tests:
  - name: counts
    model: order_count
    given:
      - input: ref('stg_orders')
        rows: [{id: 1, amount: 1}]
    expect: {rows: [{n: 1}]}
""",
}


def write_project(folder: Path, **changes: str) -> Path:
    """The project in a folder of its own, as dbt Cloud would clone it; `changes` by path with `/`."""
    for path, text in {**PROJECT, **changes}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder
