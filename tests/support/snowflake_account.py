"""A local Snowflake that knows one key, and the settings by which a tenant reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_snowflake.testing import Server, register_user, running_server

from dagster_apollo.warehouse.rotation import new_key_pair


@dataclass(frozen=True)
class Account:
    """A running server, the key that it knows, and the variables to reach it."""

    server: Server
    folder: Path
    fingerprint: str
    environ: Mapping[str, str]


@contextmanager
def running_account(folder: Path) -> Iterator[Account]:
    """One with its data and the private key in a folder."""
    key = new_key_pair(folder / "apollo.p8")
    public = folder / "apollo.pub"
    public.write_text(f"-----BEGIN PUBLIC KEY-----\n{key.public_key_body()}\n-----END PUBLIC KEY-----\n")
    register_user(folder / "data", "APOLLO", public, role="TRANSFORMER", warehouse="COMPUTE_WH")
    with running_server(folder / "data") as server:
        environ = {
            "DBT_TARGET": "dev",
            "SNOWFLAKE_ACCOUNT": server.account,
            "SNOWFLAKE_USER": "APOLLO",
            "SNOWFLAKE_ROLE": "TRANSFORMER",
            "SNOWFLAKE_WAREHOUSE": "COMPUTE_WH",
            "SNOWFLAKE_DATABASE": "ANALYTICS",
            "SNOWFLAKE_PRIVATE_KEY_PATH": str(folder / "apollo.p8"),
            "SNOWFLAKE_HOST": server.host,
            "SNOWFLAKE_PORT": str(server.port),
            "SNOWFLAKE_PROTOCOL": server.protocol,
        }
        yield Account(server, folder, key.fingerprint, environ)
