"""Key pairs, servers and connections for the tests; the server runs in its own environment, as it does for people.

Every subprocess and every connection has a time limit, so that a server that hangs fails a test and does not stop it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import snowflake.connector
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

# The folder around the package has the package's name, and a pytest that is started at the root of the repository has
# imported that folder as a namespace by now; so the package is looked for again, in its own place.
_FOLDER = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_FOLDER), str(_FOLDER / "tests")]
if not getattr(sys.modules.get("local_snowflake"), "__file__", ""):
    sys.modules.pop("local_snowflake", None)

from snowflake_clients import SECONDS, Connect, KeyPair  # noqa: E402

from local_snowflake.testing import Server, register_user, running_server  # noqa: E402


@pytest.fixture(scope="session")
def key_pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyPair]:
    folder = tmp_path_factory.mktemp("keys")
    pairs = {}
    for name in ("a", "b", "c"):
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private_file, public_file = folder / f"{name}.p8", folder / f"{name}.pub"
        private_file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public_file.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        pairs[name] = KeyPair(private, private_file, public_file)
    return pairs


@pytest.fixture(scope="session")
def new_root(tmp_path_factory: pytest.TempPathFactory, key_pairs: dict[str, KeyPair]) -> Callable[[], Path]:
    """Makes account folders with the user DBT, whose key is "a", its role TRANSFORMER and its warehouse WH."""

    def make() -> Path:
        root = tmp_path_factory.mktemp("account")
        register_user(root, "DBT", key_pairs["a"].public_file, role="TRANSFORMER", warehouse="WH")
        return root

    return make


@pytest.fixture(scope="module")
def server(new_root: Callable[[], Path]) -> Iterator[Server]:
    """One server for the tests of a module."""
    with running_server(new_root()) as running:
        yield running


@pytest.fixture(scope="session")
def connect_to(key_pairs: dict[str, KeyPair]) -> Connect:
    """Connects to a server with the real connector; keyword arguments replace what it is given, None leaves it out."""

    def connect(server: Server, key: str = "a", **changes: Any) -> snowflake.connector.SnowflakeConnection:
        arguments = {
            "account": "localacct",
            "user": "dbt",
            "private_key": key_pairs[key].der,
            "host": server.host,
            "port": server.port,
            "protocol": server.protocol,
            "database": "ANALYTICS",
            "schema": "PUBLIC",
            "warehouse": "WH",
            "role": "TRANSFORMER",
            "login_timeout": SECONDS,
            "network_timeout": SECONDS,
            **changes,
        }
        return snowflake.connector.connect(**{name: value for name, value in arguments.items() if value is not None})

    return connect


@pytest.fixture
def connect(server: Server, connect_to: Connect) -> Connect:
    """Connects to the module's server."""
    return lambda *args, **changes: connect_to(server, *args, **changes)


@pytest.fixture
def cursor(connect: Connect) -> Iterator[Any]:
    with connect() as connection:
        yield connection.cursor()
