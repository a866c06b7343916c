"""One real login to Snowflake, to say what is wrong with a connection before dbt is started on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dagster_apollo.errors import Problem
from dagster_apollo.settings import Values

if TYPE_CHECKING:
    from dagster_apollo.warehouse.keypair import PrivateKey

LOGIN_TIMEOUT_SECONDS = 15


class RefusedError(Exception):
    """Snowflake did not let us in.

    Attributes:
        problem: who asked for what, and Snowflake's own words.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@contextmanager
def login(values: Values, key: PrivateKey, **overrides: Any) -> Iterator[Any]:
    """A connection of the real connector, as the tenant's settings say.

    Raises:
        RefusedError: naming account, user, role and the key's fingerprint.
    """
    import snowflake.connector  # half a second that only a login pays

    arguments: Mapping[str, Any] = {
        "account": values["SNOWFLAKE_ACCOUNT"],
        "user": values["SNOWFLAKE_USER"],
        "role": values["SNOWFLAKE_ROLE"],
        "warehouse": values["SNOWFLAKE_WAREHOUSE"],
        "database": values["SNOWFLAKE_DATABASE"],
        "host": values["SNOWFLAKE_HOST"],
        "port": values["SNOWFLAKE_PORT"],
        "protocol": values["SNOWFLAKE_PROTOCOL"],
        "private_key": key.der_base64(),
        "login_timeout": LOGIN_TIMEOUT_SECONDS,
        "network_timeout": LOGIN_TIMEOUT_SECONDS,
        **overrides,
    }
    try:
        connection = snowflake.connector.connect(**{name: value for name, value in arguments.items() if value})
    except snowflake.connector.errors.Error as error:
        identity = ", ".join(
            f"{name} {values[f'SNOWFLAKE_{name.upper()}']}" for name in ("account", "user", "role", "host")
            if values[f"SNOWFLAKE_{name.upper()}"]
        )  # fmt: skip
        told = " ".join(str(error.raw_msg or error).split())
        what = f"refused the connection of {identity}, key {key.fingerprint}: {told}"
        remedy = "Compare the fingerprint with RSA_PUBLIC_KEY_FP of `DESC USER`; `SHOW GRANTS TO USER` shows its roles."
        raise RefusedError(Problem("Snowflake", what, remedy)) from None
    try:
        yield connection
    finally:
        connection.close()


def connection_problems(values: Values, key: PrivateKey) -> list[Problem]:
    """What keeps a login from working; empty when it works."""
    try:
        with login(values, key):
            return []
    except RefusedError as error:
        return [error.problem]
