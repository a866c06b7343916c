"""Tenants on Postgres whose models can be held up, and whose database remembers every beginning and every write.

What dbt really did is read here, from the warehouse, and not from what was recorded of it elsewhere: a model's table
and the note that it was written are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.postgres import Postgres
from tests.support.tenants import write_tenant

MODELS = ("landed", "cleaned", "joined", "summed", "published")
ROWS = 200
_SCHEMA = """
create table begun (model text, at timestamptz default clock_timestamp(), host text default host(inet_client_addr()));
create table written (like begun including defaults);
create table held_up (model text primary key);
create function let_through(wanted text) returns boolean language plpgsql as $$
begin
    while exists (select from held_up where model = wanted) loop perform pg_sleep(0.05); end loop;
    return true;
end $$;
"""
_NOTE = "insert into public.{table} (model) values ('{{{{ this.name }}}}')"
_FIRST = "select id, id * 7 as amount from generate_series(1, {rows}) as id where (select let_through('{model}'))"
_NEXT = "select id, amount + {step} as amount from {{{{ ref('{before}') }}}} where (select let_through('{model}'))"
_INCREMENTAL = "{{ config(materialized='incremental', unique_key='id') }} "


@dataclass(frozen=True)
class Note:
    """Something that dbt did to a model.

    Attributes:
        at: when, in seconds since 1970.
        host: the address that it came from.
    """

    model: str
    at: float
    host: str


@dataclass(frozen=True)
class GatedWarehouse:
    """One tenant's database.

    Attributes:
        tenant: whose.
        database: as a test reaches it.
    """

    tenant: str
    database: Postgres

    @classmethod
    def create(cls, server: Postgres, tenant: str) -> GatedWarehouse:
        """A database on a server, with nothing held up."""
        database = server.new_database()
        database.execute(_SCHEMA)
        return cls(tenant, database)

    def hold_up(self, model: str) -> None:
        """Let nobody finish a model."""
        self.database.execute(f"insert into held_up values ('{model}')")

    def let_all_through(self) -> None:
        """Let whoever waits, and whoever comes, finish."""
        self.database.execute("delete from held_up")

    def begun(self) -> list[Note]:
        """Every beginning of a model, the first one first."""
        return self._notes("begun")

    def written(self) -> list[Note]:
        """Every table that was written, the first one first."""
        return self._notes("written")

    def rows(self) -> list[tuple[int, int]]:
        """What the last model holds."""
        return [(int(key), int(amount)) for key, amount in self.database.rows("select * from published order by id")]

    def _notes(self, table: str) -> list[Note]:
        told = self.database.rows(f"select model, extract(epoch from at), host from {table} order by at")
        return [Note(model, float(at), host) for model, at, host in told]


def expected_rows() -> list[tuple[int, int]]:
    """What the last model holds after a build that nobody disturbed."""
    return [(key, key * 7 + sum(range(1, len(MODELS)))) for key in range(1, ROWS + 1)]


def write_gated_tenant(tenants_dir: Path, name: str, models: Sequence[str] = MODELS) -> None:
    """A tenant's folder: models in a row, the last one incremental, each with its tests."""
    project = {
        "name": name,
        "version": "1.0.0",
        "config-version": 2,
        "profile": "tiny",
        "models": {
            "+materialized": "table",
            "+pre-hook": [{"sql": _NOTE.format(table="begun"), "transaction": False}],
            "+post-hook": [{"sql": _NOTE.format(table="written"), "transaction": True}],
        },
    }
    files = {"dbt_project.yml": yaml.safe_dump(project), "tests.yml": yaml.safe_dump(_tests(models))}
    for step, model in enumerate(models):
        text = _NEXT if step else _FIRST
        text = text.format(rows=ROWS, model=model, step=step, before=models[step - 1])
        files[f"{model}.sql"] = (_INCREMENTAL if model == models[-1] and step else "") + text + "\n"
    write_tenant(tenants_dir, name, files, "warehouse: postgres\n")


def _tests(models: Sequence[str]) -> dict[str, object]:
    tested = [{"name": "id", "data_tests": ["unique", "not_null"]}]
    return {"models": [{"name": model, "columns": tested} for model in models]}
