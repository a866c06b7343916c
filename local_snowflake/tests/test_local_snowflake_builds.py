"""dbt-snowflake as it is released builds a shop with every materialization, three times over with changed data."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import shop_rows
from shop_expected import AFTER_LAST_BATCH, FIRST_BATCH, Expected, Rows, plain
from snowflake_clients import Connect, KeyPair

from local_snowflake.testing import Server, running_server

PROJECT = Path(__file__).parent / "shop"
DBT_SECONDS = 150


class Shop:
    """A copy of the project, and the server that it builds on at the moment."""

    def __init__(self, folder: Path, key: KeyPair, connect_to: Connect) -> None:
        self.folder = folder / "shop"
        shutil.copytree(PROJECT, self.folder, ignore=shutil.ignore_patterns("target", "logs"))
        self._key, self._connect_to = key, connect_to
        self.server: Server | None = None

    def dbt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run dbt to its end."""
        assert self.server
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
            "DBT_PROFILES_DIR": str(self.folder),
            "SHOP_HOST": self.server.host,
            "SHOP_PORT": str(self.server.port),
            "SHOP_PRIVATE_KEY_PATH": str(self._key.private_file),
        }
        return subprocess.run(
            [str(Path(sys.executable).parent / "dbt"), "--no-use-colors", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DBT_SECONDS,
            check=False,
        )

    def dbt_ok(self, *arguments: str) -> str:
        done = self.dbt(*arguments)
        assert done.returncode == 0, f"dbt {' '.join(arguments)}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
        return done.stdout

    def rows(self, sql: str) -> Rows:
        return self.results([sql])[0]

    def results(self, statements: list[str]) -> list[Rows]:
        assert self.server
        with self._connect_to(self.server, schema="SHOP") as connection:
            return [connection.cursor().execute(sql).fetchall() for sql in statements]

    def load(self, number: int) -> None:
        """Put the raw rows of a round in place."""
        assert self.server
        with self._connect_to(self.server) as connection:
            for statement in shop_rows.load_statements(number):
                connection.cursor().execute(statement)


@pytest.fixture
def shop(tmp_path: Path, key_pairs: dict[str, KeyPair], connect_to: Connect) -> Shop:
    return Shop(tmp_path, key_pairs["a"], connect_to)


def mismatches(shop: Shop, expected: Expected) -> list[str]:
    """Every relation whose rows are not the expected ones."""
    of = "select * from"
    checks: dict[str, tuple[str, Rows]] = {
        "merge": (f"{of} fct_orders_merge", list(expected.merged.values())),
        "delete+insert": (
            f"{of} fct_orders_delete_insert",
            [(key, customer, amount, status, at) for key, customer, amount, status, _, at in expected.merged.values()],
        ),
        "merge_update_columns": (f"{of} fct_orders_some_columns", list(expected.some_columns.values())),
        "merge_exclude_columns": (f"{of} fct_orders_first_amount", list(expected.first_amount.values())),
        "append": (f"{of} log_orders_append", expected.appended),
        "insert_overwrite": (f"{of} countries_overwrite", expected.countries()),
        "microbatch": (f"{of} events_microbatch", list(expected.microbatch.values())),
        "timestamp snapshot": (
            "select id, name, country, email, updated_at, dbt_valid_to is null from SNAP.snap_customers",
            [(*version.row, version.is_current) for version in expected.customer_versions],
        ),
        "timestamp snapshot, end of a version": (
            "select id, dbt_valid_to from SNAP.snap_customers "
            "where dbt_valid_to in (select updated_at from SNAP.snap_customers)",
            [
                (version.row[0], version.valid_to)
                for version in expected.customer_versions
                if isinstance(version.valid_to, datetime.datetime)
            ],
        ),
        "timestamp snapshot, begin of a version": (
            "select id from SNAP.snap_customers where dbt_valid_from <> updated_at",
            [],
        ),
        "check snapshot": (
            "select order_id, status, amount, dbt_valid_to is null, dbt_is_deleted from SNAP.snap_orders",
            [(*version.row, version.is_current, version.deleted) for version in expected.order_versions],
        ),
        "check snapshot, keys": ("select dbt_scd_id from SNAP.snap_orders group by 1 having count(*) > 1", []),
        "contract, hooks, ephemeral": (f"{of} dim_customers", expected.customers()),
        "view": ("select name from report", expected.report()),
        "aggregates and semi-structured": (
            "select sku, qty::int, revenue::float, round(share, 9)::float, orders, order_ids, obj, median_price::float "
            "from agg_items",
            expected.items(),
        ),
        "dates": (
            "select month, month_end, month_start, span::int, day_after, round(average, 4)::float, n from agg_months",
            expected.months(),
        ),
        "pivot": ("select open_amt, paid_amt, cancelled_amt from pivoted", expected.pivoted()),
        "generator": (f"{of} calendar", expected.calendar()),
        "seed": ("select code, name, vat, since from seed_countries where code in ('US', 'XX')", expected.seed()),
        "pre-hooks": (
            "select who, what, count(*) from audit where who = 'pre' group by 1, 2",
            [("pre", what, expected.builds) for what in ("a", "b")],
        ),
    }
    wrong = []
    results = shop.results([sql for sql, _ in checks.values()])
    for (name, (_, want)), rows in zip(checks.items(), results, strict=True):
        got, wanted = sorted(plain(rows), key=repr), sorted(want, key=repr)
        if got != wanted:
            wrong.append(f"{name}\n  got      {got}\n  expected {wanted}")
    return wrong


def batches(number: int) -> list[str]:
    """The days that the microbatch model reads in a round."""
    return ["--event-time-start", FIRST_BATCH[number], "--event-time-end", AFTER_LAST_BATCH]


def left_over(shop: Shop) -> list[str]:
    """Temporary relations of dbt's that a build has left behind."""
    names = [row[1] for row in shop.rows("show objects in ANALYTICS.SHOP limit 10000")]
    return [name for name in names if "DBT_TMP" in name.upper()]


@pytest.mark.parametrize("threads", [1, 4])
def test_three_builds_with_changed_data_give_the_right_rows_and_a_restart_keeps_them(
    threads: int, shop: Shop, new_root: Callable[[], Path]
) -> None:
    root, expected = new_root(), Expected()
    at = ["--threads", str(threads)]
    with running_server(root) as shop.server:
        for number in (1, 2):
            shop.load(number)
            # the unit tests read the columns of the model's inputs, which are not there before the first build
            left_out = ["--exclude-resource-type", "unit_test"] if number == 1 else []
            shop.dbt_ok("build", *at, *batches(number), *left_out)
            expected.advance()
            assert not mismatches(shop, expected)
    with running_server(root) as shop.server:
        assert not mismatches(shop, expected)
        shop.load(3)
        shop.dbt_ok("build", *at, *batches(3))
        expected.advance()
        assert not mismatches(shop, expected)
        assert not left_over(shop)
        grants = shop.rows("show grants on table dim_customers")
        assert [(row[1], row[5]) for row in grants if row[1] != "OWNERSHIP"] == [("SELECT", "REPORTER")]


def test_seed_documentation_freshness_and_comments_of_one_build(shop: Shop, new_root: Callable[[], Path]) -> None:
    with running_server(new_root()) as shop.server:
        shop.load(1)
        shop.dbt_ok("seed")
        assert shop.rows("select count(*) from seed_countries") == [(5,)]
        shop.dbt_ok("build", "--threads", "2", *batches(1), "--exclude-resource-type", "unit_test")

        shop.dbt_ok("docs", "generate")
        catalog = json.loads((shop.folder / "target" / "catalog.json").read_text())
        assert catalog["errors"] is None
        assert len(catalog["sources"]) == 4
        customers = catalog["nodes"]["model.shop.dim_customers"]
        assert customers["metadata"]["type"] == "BASE TABLE"
        types = {name: column["type"] for name, column in customers["columns"].items()}
        assert (types["CUSTOMER_ID"], types["NAME"], types["AMOUNT"]) == ("NUMBER", "TEXT", "NUMBER")
        assert catalog["nodes"]["model.shop.report"]["metadata"]["type"] == "VIEW"

        assert shop.dbt_ok("source", "freshness").count("PASS freshness of") == 4

        # dbt itself writes [$] for a dollar sign in a comment
        comments = shop.rows(
            "select table_name, comment from ANALYTICS.information_schema.tables "
            "where table_schema = 'SHOP' and comment <> '' order by 1"
        )
        assert comments == [
            ("DIM_CUSTOMERS", 'Customers: it\'s [$]5 & "more"'),
            ("FCT_ORDERS_MERGE", "upserted"),
            ("REPORT", "a view"),
            ("SEED_COUNTRIES", "Countries we sell to; cost in [$] and 'quotes'"),
        ]
        described = [(row[0], row[1], row[3]) for row in shop.rows("describe table dim_customers")]
        assert described[:3] == [
            ("CUSTOMER_ID", "NUMBER(38,0)", "N"),
            ("NAME", "VARCHAR(100)", "Y"),
            ("COUNTRY", "VARCHAR(2)", "Y"),
        ]


def test_a_model_that_fails_says_why_and_leaves_its_table_as_it_was(shop: Shop, new_root: Callable[[], Path]) -> None:
    models = shop.folder / "models" / "marts"
    for file in [*models.iterdir(), *(shop.folder / "snapshots").iterdir(), *(shop.folder / "tests").iterdir()]:
        file.unlink()
    twice = "{% if is_incremental() %} union all select 1, 'b' {% endif %}"
    (models / "twice.sql").write_text(
        "{{ config(materialized='incremental', unique_key='id') }} select 1 as id, 'a' as v " + twice
    )
    (models / "strict.sql").write_text("{{ config(contract={'enforced': true}) }} select 1::int as id")
    (models / "strict.yml").write_text(
        "models: [{name: strict, columns: [{name: id, data_type: int, constraints: [{type: not_null}]}]}]"
    )
    with running_server(new_root()) as shop.server:
        shop.load(1)
        shop.dbt_ok("run", "--select", "twice", "strict")

        (models / "strict.sql").write_text("{{ config(contract={'enforced': true}) }} select null::int as id")
        (models / "unknown.sql").write_text("select nope from {{ ref('stg_orders') }}")
        (models / "dynamic.sql").write_text(
            "{{ config(materialized='dynamic_table', target_lag='1 minute', snowflake_warehouse='WH') }} select 1 as a"
        )
        shop.dbt_ok("run", "--select", "stg_orders")
        failed = shop.dbt("run", "--select", "twice", "strict", "unknown", "dynamic")

        assert failed.returncode == 1
        assert "Duplicate row detected during DML action" in failed.stdout
        assert "NULL result in a non-nullable column" in failed.stdout
        assert "invalid identifier 'NOPE'" in failed.stdout
        assert "Unsupported feature 'CREATE DYNAMIC'" in failed.stdout
        assert shop.rows("select id, v from twice") == [(1, "a")]
        assert shop.rows("select id from strict") == [(1,)]
