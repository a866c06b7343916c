"""Tenants whose models take their time, so that a kill comes in the middle of one, and what they left where they build.

Every model writes to a table when dbt has built it, so that what was built is known from dbt and not from who asked it.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import snowflake.connector

from tests.support.postgres import Postgres
from tests.support.snowflake_account import Account
from tests.support.tenants import write_tenant

SCHEMA = "built"
# By model, what it is made of: a line, a fork of it, and what joins both.
MODELS: Mapping[str, Sequence[str]] = {
    "one": (),
    "two": ("one",),
    "three": ("two",),
    "left_of_it": ("three",),
    "right_of_it": ("three",),
    "last": ("left_of_it", "right_of_it"),
}
_INCREMENTAL = {"two", "right_of_it"}


class SlowTenant(Protocol):
    """A tenant in its warehouse.

    Attributes:
        name: of the tenant, and of its code location.
        variables: of the code host, for it.
    """

    name: str
    variables: Mapping[str, str]

    def clear(self) -> None:
        """Leave nothing of what was built."""

    def rows(self) -> dict[str, list[Any]]:
        """The rows of each model."""

    def built(self) -> Counter[str]:
        """How often dbt has built each model, since there is this tenant."""


def write(tenant: SlowTenant, tenants_dir: Path, warehouse: str, slowly: str) -> None:
    """The tenant's folder.

    Args:
        tenant: whose.
        tenants_dir: where.
        warehouse: as `tenant.yaml` has it.
        slowly: a query of one row, with a column `nothing` that is 0, which takes a moment.
    """
    files = {f"{name}.sql": _model(name, after, slowly) for name, after in MODELS.items()}
    tests = ", ".join(f"{{name: {name}, columns: [{{name: id, data_tests: [not_null]}}]}}" for name in MODELS)
    files["models.yml"] = f"models: [{tests}]\n"
    # A row of kills in which nothing gets built is no fault of the tenant's.
    write_tenant(tenants_dir, tenant.name, files, f"warehouse: {warehouse}\nschedule: null\nretries: {{count: 10}}\n")


def _model(name: str, after: Sequence[str], slowly: str) -> str:
    kind = "incremental', unique_key='id" if name in _INCREMENTAL else "table"
    told = f"insert into told.built (model) values ('{name}')"
    config = f"{{{{ config(materialized='{kind}', post_hook=\"{told}\") }}}}\n"
    made_of = " union all ".join(f"select id from {{{{ ref('{other}') }}}}" for other in after) or "select 0 as id"
    return (
        f"{config}select cast(sum(made_of.id) + 1 + max(slowly.nothing) as integer) as id, '{name}' as name\n"
        f"from ({made_of}) as made_of cross join ({slowly}) as slowly\n"
    )


@dataclass
class OnPostgres:
    """By dbt-postgres, in a server that is the tenant's own."""

    server: Postgres
    name: str = "soak_pg"

    @property
    def variables(self) -> dict[str, str]:
        prefix = self.name.upper()
        return {f"{prefix}__POSTGRES_URL": self.server.url(), f"{prefix}__DBT_SCHEMA": SCHEMA}

    def write(self, tenants_dir: Path) -> None:
        """Its folder, and the table that it tells."""
        self.server.execute("create schema told")
        self.server.execute("create table told.built (model text not null)")
        write(self, tenants_dir, "postgres", "select case when pg_sleep(0.7) is null then 1 else 0 end as nothing")

    def clear(self) -> None:
        self.server.execute(f"drop schema if exists {SCHEMA} cascade")

    def rows(self) -> dict[str, list[Any]]:
        return {name: self.server.rows(f"select id, name from {SCHEMA}.{name} order by 1, 2") for name in MODELS}

    def built(self) -> Counter[str]:
        return Counter(name for (name,) in self.server.rows("select model from told.built"))


@dataclass
class OnSnowflake:
    """By dbt-snowflake, in the local Snowflake."""

    account: Account
    name: str = "soak_snow"

    @property
    def variables(self) -> dict[str, str]:
        prefix = self.name.upper()
        key = Path(self.account.environ["SNOWFLAKE_PRIVATE_KEY_PATH"]).read_bytes()
        left_out = ("DBT_TARGET", "SNOWFLAKE_PRIVATE_KEY_PATH")
        own = {name: text for name, text in self.account.environ.items() if name not in left_out}
        # Its user may not read a file of the test's.
        own |= {"SNOWFLAKE_PRIVATE_KEY_B64": base64.b64encode(key).decode(), "DBT_SCHEMA": SCHEMA, "DBT_THREADS": "2"}
        return {f"{prefix}__{name}": text for name, text in own.items()}

    def write(self, tenants_dir: Path) -> None:
        """Its folder, and the table that it tells."""
        self._asked("create schema if not exists told")
        self._asked("create table told.built (model varchar not null)")
        numbers = "(select seq4() as n from table(generator(rowcount => 10000)))"
        slowly = f"select case when sum(a.n * b.n) < 0 then 1 else 0 end as nothing from {numbers} a, {numbers} b"
        write(self, tenants_dir, "snowflake", slowly)

    def clear(self) -> None:
        self._asked(f"drop schema if exists {SCHEMA} cascade")

    def rows(self) -> dict[str, list[Any]]:
        return {name: self._asked(f"select id, name from {SCHEMA}.{name} order by 1, 2") for name in MODELS}

    def built(self) -> Counter[str]:
        return Counter(name for (name,) in self._asked("select model from told.built"))

    def _asked(self, statement: str) -> list[Any]:
        own = self.account.environ
        with closing(
            snowflake.connector.connect(
                account=own["SNOWFLAKE_ACCOUNT"],
                user=own["SNOWFLAKE_USER"],
                role=own["SNOWFLAKE_ROLE"],
                warehouse=own["SNOWFLAKE_WAREHOUSE"],
                database=own["SNOWFLAKE_DATABASE"],
                private_key_file=own["SNOWFLAKE_PRIVATE_KEY_PATH"],
                host=own["SNOWFLAKE_HOST"],
                port=int(own["SNOWFLAKE_PORT"]),
                protocol=own["SNOWFLAKE_PROTOCOL"],
            )
        ) as connection:
            return list(connection.cursor().execute(statement).fetchall())
