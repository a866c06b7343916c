"""The databases of an account as DuckDB files of one process, and what is known of the objects in them.

One root connection attaches files; a second one answers questions about the catalogue, apart from the sessions', so
that they work inside a session's transaction too. What DuckDB does not keep (times of change, text lengths) is kept
here in the `_fs_global` database.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from fakesnow import info_schema, macros
from fakesnow.transforms import show

from local_snowflake import catalog_sql
from local_snowflake.errors import missing, unsupported
from local_snowflake.names import ObjectName, quoted

GLOBAL = "_fs_global"


@dataclass(frozen=True)
class CatalogObject:
    """A table or view."""

    name: ObjectName
    kind: str
    """TABLE or VIEW."""
    comment: str | None
    row_count: int | None
    created: str


class Catalog:
    """The attached databases, each one file of a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.duck = duckdb.connect(":memory:")
        self.duck.execute("SET GLOBAL TimeZone = 'UTC'; SET GLOBAL preserve_insertion_order = true")
        self._attach(GLOBAL)
        self.duck.execute(info_schema.fs_global_creation_sql())
        self.duck.execute(show.fs_global_creation_sql())
        self.duck.execute(catalog_sql.GLOBAL_OBJECTS)
        self._reader = self.duck.cursor()
        self._reader_lock = threading.Lock()
        for file in sorted(self.folder.glob("*.db")):
            if file.stem != GLOBAL:
                self.add_database(file.stem)
        # From here on SQL can read and write no file but those of this folder, and nothing of the network.
        self.duck.execute(f"SET GLOBAL allowed_directories = ['{self.folder}/']")
        self.duck.execute("SET GLOBAL enable_external_access = false")

    def _attach(self, name: str) -> None:
        file = str(self.folder / f"{name}.db").replace("'", "''")
        self.duck.execute(f"ATTACH IF NOT EXISTS '{file}' AS {name} (STORAGE_VERSION 'v1.4.0')")

    def add_database(self, name: str) -> None:
        """Attach a database, making its file and its PUBLIC schema if they are not there.

        Raises:
            SqlError: the name is not a plain identifier.
        """
        name = name.upper()
        if not re.fullmatch(r"[A-Z_][A-Z0-9_$]*", name):
            raise unsupported(f"database name {name}")
        self._attach(name)
        self.duck.execute(info_schema.per_db_creation_sql(name))
        self.duck.execute(macros.creation_sql(name))
        self.duck.execute(catalog_sql.tables_view(name))
        self.duck.execute(f"create schema if not exists {name}.PUBLIC")

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection for a session."""
        return self.duck.cursor()

    def close(self) -> None:
        """Write everything into the database files and close them."""
        for database in [GLOBAL, *self.databases()]:
            with contextlib.suppress(duckdb.Error):  # the write-ahead log stays then, and is read at the next start
                self._reader.execute(f"CHECKPOINT {quoted(database)}")
        self._reader.close()
        self.duck.close()

    def _query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._reader_lock:
            return self._reader.execute(sql, parameters).fetchall()

    def databases(self) -> list[str]:
        rows = self._query(
            "select database_name from duckdb_databases() "
            "where not internal and database_name not in ('memory', '_fs_global') order by 1"
        )
        return [name for (name,) in rows]

    def has_database(self, name: str) -> bool:
        return name.upper() in self.databases()

    def schemas(self, database: str | None) -> list[tuple[str, str]]:
        """Database and name of each schema, with INFORMATION_SCHEMA; None is all databases."""
        rows = self._query(
            "select database_name, schema_name from duckdb_schemas() where not internal "
            "and database_name not in ('memory', '_fs_global', 'temp', 'system') "
            "and schema_name not in ('main', '_fs_information_schema') and ($1 is null or database_name = $1)",
            [database],
        )
        databases = [database] if database else self.databases()
        return sorted(
            {(str(row[0]), str(row[1])) for row in rows} | {(name, "INFORMATION_SCHEMA") for name in databases}
        )

    def has_schema(self, database: str, schema: str) -> bool:
        return (database, schema) in self.schemas(database)

    def objects(self, database: str | None, schema: str | None) -> list[CatalogObject]:
        """Tables and views by name; None is all databases or all schemas."""
        return [
            CatalogObject((row[0], row[1], row[2]), *row[3:])
            for row in self._query(catalog_sql.OBJECTS, [database, schema])
        ]

    def object(self, name: ObjectName) -> CatalogObject:
        """The table or view of that name.

        Raises:
            SqlError: there is none (2003).
        """
        for found in self.objects(name[0], name[1]):
            if found.name == name:
                return found
        raise missing("Object", ".".join(name), "42S02")

    def touch(self, name: ObjectName, created: bool = False) -> None:
        """An object was made or changed now."""
        with self._reader_lock:
            self._reader.execute(
                f"insert into {catalog_sql.OBJECTS_TABLE} values ($1, $2, $3, now(), now()) "  # noqa: S608
                "on conflict (cat, sch, name) do update set altered = now()" + (", created = now()" if created else ""),
                list(name),
            )

    def rename(self, old: ObjectName, new: ObjectName) -> None:
        """What is kept of an object follows its new name."""
        keys = {
            catalog_sql.OBJECTS_TABLE: ("cat", "sch", "name"),
            catalog_sql.COLUMNS_TABLE: ("ext_table_catalog", "ext_table_schema", "ext_table_name"),
        }
        with self._reader_lock:
            for table, columns in keys.items():
                assigned = ", ".join(f"{column} = ?" for column in columns)
                matched = " and ".join(f"{column} = ?" for column in columns)
                self._reader.execute(f"delete from {table} where {matched}", list(new))  # noqa: S608
                self._reader.execute(f"update {table} set {assigned} where {matched}", [*new, *old])  # noqa: S608

    def set_text_lengths(self, name: ObjectName, lengths: dict[str, int]) -> None:
        """Keep the n of the VARCHAR(n) columns of a table, for DESCRIBE and INFORMATION_SCHEMA."""
        database, schema, table = (part.replace("'", "''") for part in name)
        escaped = [(column.replace("'", "''"), length) for column, length in lengths.items()]
        with self._reader_lock:
            self._reader.execute(info_schema.insert_text_lengths_sql(database, schema, table, escaped))
