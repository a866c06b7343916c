"""A secret of one's own in every setting that is secret, as a Docker host holds them: in `.env` and `.env.tenants`.

Each is planted where a person would write it. How they are looked for afterwards is `secret_search.py`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from dagster_apollo.access.identity import access_source
from dagster_apollo.settings import SETTINGS
from dagster_apollo.warehouse.keypair import read_private_key
from dagster_apollo.warehouse.rotation import new_key_pair
from tests.support.deployed_stack import Credentials

DATABASE = "dagster-postgres"
SECRET_SETTINGS = frozenset(setting.name for setting in SETTINGS if setting.secret)
# What base64, a URL, JSON and Python each write in another way.
_ODD = '+/="&<%\\'
# The code host's own directory, which knows nothing of what it is asked here, but answers at once.
_ANSWERS, _PORT = "127.0.0.1", "4000"
_SILENT_SERVER = "127.0.0.1:9"


@dataclass(frozen=True)
class Planted:
    """All of them.

    Attributes:
        host: what stands in `.env`, by variable.
        tenants: what stands in `.env.tenants`.
        secrets: what is looked for, by what it is called: the values, what they are made of, and what is made of them.
    """

    host: Mapping[str, str] = field(repr=False)
    tenants: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)

    @property
    def settings(self) -> set[str]:
        """The settings that have one."""
        named = {name.rpartition("__")[2] for name in (*self.host, *self.tenants)}
        # Compose makes the database's URL of its password.
        return named | ({"DAGSTER_PG_URI"} if "POSTGRES_PASSWORD" in named else set())


def plant(
    clone: Path, credentials: Credentials, *, builds: str, silent: str, refused: str, attached: str, cloud: str
) -> Planted:
    """Add to the `.env` that `apollo init` made, and write `.env.tenants`.

    Args:
        clone: the Docker host's.
        credentials: who may log in there.
        builds: a tenant on DuckDB that reads object storage, sends lineage, tells of failures (FAILURES_URL), and has
            a secret of its own.
        silent: a tenant whose key is right and whose Snowflake does not answer.
        refused: a tenant whose key does not open.
        attached: a tenant whose Postgres does not let it in.
        cloud: a tenant whose dbt Cloud knows no such account.
    """
    login = {
        "OIDC_ISSUER": "https://login.test.invalid",
        "OIDC_CLIENT_ID": "planted-client",
        "OIDC_CLIENT_SECRET": _new("OIDC_CLIENT_SECRET"),
    }
    deploys = {name: _new(name) for name in SECRET_SETTINGS if name.startswith("RENDER_") or name == "APOLLO_TOKEN"}
    with (clone / ".env").open("a") as file:
        file.write(_lines({"DBT_TARGET": "prod", **login, **deploys}))
    host = {name: text or "" for name, text in dotenv_values(clone / ".env", interpolate=False).items()}

    passphrase, other = _new("PASSPHRASE"), _new("WRONG_PASSPHRASE")
    keys = {name: _new_key(clone.parent / f"{name}.p8", passphrase) for name in (silent, refused)}
    in_urls = {name: _new(name) for name in ("FAILURES_URL", "POSTGRES_URL")}
    quoted = {name: quote(text, safe="") for name, text in in_urls.items()}
    own = {name: _new(name) for name in ("API_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENLINEAGE_API_KEY")}
    tenants = {
        **{f"{builds.upper()}__{name}": text for name, text in own.items()},
        f"{builds.upper()}__FAILURES_URL": f"json://teller:{quoted['FAILURES_URL']}@{_SILENT_SERVER}",
        f"{attached.upper()}__POSTGRES_URL": f"postgresql://nobody:{quoted['POSTGRES_URL']}@{DATABASE}/postgres",
        f"{cloud.upper()}__DBT_CLOUD_TOKEN": _new("DBT_CLOUD_TOKEN"),
        f"{cloud.upper()}__DATABRICKS_TOKEN": _new("DATABRICKS_TOKEN"),
        f"{silent.upper()}__SNOWFLAKE_PRIVATE_KEY_PEM": keys[silent],
        f"{silent.upper()}__SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": passphrase,
        f"{refused.upper()}__SNOWFLAKE_PRIVATE_KEY_B64": base64.b64encode(keys[refused].encode()).decode(),
        f"{refused.upper()}__SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": other,
    }
    snowflake = {"ACCOUNT": "planted-one", "USER": "DBT", "ROLE": "DBT", "WAREHOUSE": "DBT", "DATABASE": "ANALYTICS"}
    snowflake |= {"HOST": _ANSWERS, "PORT": _PORT, "PROTOCOL": "http"}
    shared = {
        "DBT_SCHEMA": "PUBLIC",
        **{f"SNOWFLAKE_{name}": text for name, text in snowflake.items()},
        "AWS_ACCESS_KEY_ID": "planted",
        "OPENLINEAGE_URL": f"http://{_ANSWERS}:{_PORT}",
        "DBT_CLOUD_ACCESS_URL": f"http://{_ANSWERS}:{_PORT}",
    }
    (clone / ".env.tenants").write_text(_lines(shared | tenants))

    access = access_source.read(clone / "access.yaml")
    (person,), (program,) = access.users.values(), access.tokens.values()
    return Planted(
        host,
        tenants,
        {
            **{name: host[name] for name in ("POSTGRES_PASSWORD", *sorted(SECRET_SETTINGS & host.keys()))},
            **{name: text for name, text in tenants.items() if not name.endswith("_PEM")},
            **{f"the password in {name}": text for name, text in in_urls.items()},
            **{f"the password in {name}, as an address has it": text for name, text in quoted.items()},
            **{f"the key of {name}": _body(text) for name, text in keys.items()},
            **{f"the key of {name}, opened": _opened(text, passphrase) for name, text in keys.items()},
            "a person's password": credentials.password,
            "a person's password, hashed": person.password_hash,
            "a program's token": credentials.token,
            "a program's token, hashed": program.sha256,
        },
    )


def _new(name: str) -> str:
    return f"planted-{secrets.token_hex(12)}{_ODD}{name}"


def _new_key(file: Path, passphrase: str) -> str:
    new_key_pair(file, passphrase=passphrase)
    return file.read_text()


def _opened(pem: str, passphrase: str) -> str:
    return _body(read_private_key(pem=pem, passphrase=passphrase).pem())


def _body(pem: str) -> str:
    """The lines that only this key has."""
    return "\n".join(line for line in pem.splitlines() if "-----" not in line)


def _lines(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}='{text}'\n" for name, text in variables.items())
