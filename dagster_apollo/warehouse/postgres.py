"""A tenant's Postgres, from its URL to what dbt is told: as a warehouse of its own, or attached to DuckDB.

Nothing here connects. The password never stands in what these functions return; it goes beside, as a variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from dagster_apollo.settings import Values
from dagster_apollo.warehouse.services import POSTGRES_PASSWORD_VARIABLE, UNSET, reference

# In seconds: a server that is away is told of before a person has given up.
CONNECT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class PostgresServer:
    """The parts of POSTGRES_URL that are no secret.

    Attributes:
        parameters: libpq's own, as the URL's query gives them: `sslmode` and others.
            https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    """

    host: str
    port: int
    user: str
    database: str
    parameters: Mapping[str, str]

    @classmethod
    def of(cls, values: Values) -> PostgresServer:
        """The server that the settings name; one that does not exist where they name none."""
        url = urlsplit(values.text("POSTGRES_URL") or f"postgresql://{UNSET}@{UNSET}/{UNSET}")
        return cls(
            url.hostname or "localhost",
            url.port or 5432,
            unquote(url.username or ""),
            unquote(url.path.strip("/")),
            {"connect_timeout": str(CONNECT_TIMEOUT_SECONDS), **dict(parse_qsl(url.query))},
        )

    @property
    def place(self) -> str:
        """Which database that is, for telling whether two tenants share it."""
        return f"{self.host}:{self.port}/{self.database}".lower()

    def options(self) -> str:
        """The parameters as a connection string."""
        quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in self.parameters.items()}
        return " ".join(f"{name}='{value}'" for name, value in sorted(quoted.items()))


def postgres_output(values: Values, threads: int) -> dict[str, Any]:
    """The output of a profile that builds on Postgres alone."""
    server = PostgresServer.of(values)
    output: dict[str, Any] = {
        "type": "postgres",
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": reference(POSTGRES_PASSWORD_VARIABLE),
        "dbname": server.database,
        "schema": values.text("DBT_SCHEMA") or "public",
        "threads": threads,
        "connect_timeout": int(server.parameters["connect_timeout"]),
    }
    known = ("sslmode", "sslcert", "sslkey", "sslrootcert")
    return output | {name: server.parameters[name] for name in known if name in server.parameters}
