"""The account of a laptop: one key pair, user, role, warehouse and database, and the environment that names them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from local_snowflake.account import Account
from local_snowflake.root import account_file, locked

USER, ROLE, WAREHOUSE, DATABASE = "APOLLO", "TRANSFORMER", "COMPUTE_WH", "ANALYTICS"
_KEY_BITS = 2048  # what Snowflake asks for at least


def private_key_file(root: Path) -> Path:
    return root / "rsa_key.p8"


def prepare(root: Path, account_name: str) -> None:
    """Make the user with its key, the role and the warehouse, where they are not there yet.

    The private key is written once, for its owner alone; if its file is gone a new pair takes the place of the old.

    Raises:
        RootInUseError: another process works on the folder.
    """
    with locked(root):
        account = Account(account_name, account_file(root))
        account.create_role(ROLE)
        account.create_warehouse(WAREHOUSE)
        properties = {"DEFAULT_ROLE": ROLE, "DEFAULT_WAREHOUSE": WAREHOUSE}
        account.create_user(USER, dict(properties), replace=False, if_not_exists=True)
        account.change_role_grant(ROLE, user=USER, grant=True)
        if not private_key_file(root).exists():
            public_key = _write_private_key(private_key_file(root))
            account.alter_user(USER, {"RSA_PUBLIC_KEY": public_key})


def _write_private_key(file: Path) -> str:
    """A new private key in PKCS#8 PEM, readable for its owner alone; the PEM of its public key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def environment(root: Path, account_name: str, host: str, port: int) -> str:
    """The shell lines that point dbt at this server."""
    variables = {
        "DBT_TARGET": "dev",
        "SNOWFLAKE_ACCOUNT": account_name.lower(),
        "SNOWFLAKE_USER": USER,
        "SNOWFLAKE_ROLE": ROLE,
        "SNOWFLAKE_WAREHOUSE": WAREHOUSE,
        "SNOWFLAKE_DATABASE": DATABASE,
        "SNOWFLAKE_PRIVATE_KEY_PATH": str(private_key_file(root).resolve()),
        "SNOWFLAKE_HOST": host,
        "SNOWFLAKE_PORT": str(port),
        "SNOWFLAKE_PROTOCOL": "http",
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
