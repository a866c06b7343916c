"""What a tenant needs beside its warehouse, `services` in its `tenant.yaml`: which settings, and which are secret.

What becomes of them in a profile is `duckdb.py` and `postgres.py`; what stands in for them on a laptop is not known
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from dagster_apollo.errors import Problem
from dagster_apollo.settings import BY_NAME, Values
from dagster_apollo.tenant import Tenant

# dbt takes variables of this prefix in profiles and packages alone, and writes ***** for their values in its logs:
# https://docs.getdbt.com/reference/dbt-jinja-functions/env_var#secrets
POSTGRES_PASSWORD_VARIABLE = "DBT_ENV_SECRET_POSTGRES_PASSWORD"  # noqa: S105
AWS_SECRET_VARIABLE = "DBT_ENV_SECRET_AWS_SECRET_ACCESS_KEY"  # noqa: S105
# Stands where nothing is set, in a profile that nothing connects by. No word of a log: dbt masks what is a secret.
UNSET = "unset"
UNSET_SECRET = "no-secret-is-set"  # noqa: S105
_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_NEEDED = {"postgres": ("POSTGRES_URL",), "s3": _AWS, "dynamodb": _AWS}
_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL_S3", "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB"}


def settings_of(services: Iterable[str]) -> set[str]:
    """The settings by which services are reached."""
    return {name for service in services for name in (*_NEEDED[service], *_ENDPOINTS.get(service, "").split())}


def reference(variable: str) -> str:
    """How a profile names a variable."""
    return f"{{{{ env_var('{variable}') }}}}"


def missing_settings(tenant: Tenant, values: Values, services: tuple[str, ...] | None = None) -> list[Problem]:
    """The settings of a tenant's services that are not set, each once.

    Args:
        tenant: whose.
        values: the settings as the tenant sees them.
        services: other services than those that `tenant.yaml` names.
    """
    needed: dict[str, str] = {}
    for service in tenant.config.services if services is None else services:
        needed |= {name: needed.get(name, service) for name in _NEEDED[service] if not values[name]}
    return [
        Problem(
            values.source(name, tenant.name),
            f"is not set, and the tenant needs {service}",
            f"{BY_NAME[name].help} Set it, or {name} for all.",
        )
        for name, service in needed.items()
    ]


def wrong_endpoints(tenant: Tenant, values: Values) -> list[Problem]:
    """Endpoints of a tenant's services that are no address."""
    return [
        Problem(
            values.source(name, tenant.name), "is not `http://host:port` or `https://host`", "Give it in that form."
        )
        for service, name in _ENDPOINTS.items()
        if service in tenant.config.services and (text := values.text(name)) and not _is_address(text)
    ]


def service_secrets(values: Values, services: tuple[str, ...]) -> dict[str, str]:
    """The variables by which a profile names the secrets of services; a placeholder where they are not set."""
    secrets = {}
    if "postgres" in services:
        url = urlsplit(values.text("POSTGRES_URL") or "")
        # dbt refuses a secret that is empty; a server that trusts its peers takes any.
        secrets[POSTGRES_PASSWORD_VARIABLE] = unquote(url.password or "") or UNSET_SECRET
    if "s3" in services:
        secrets[AWS_SECRET_VARIABLE] = values.text("AWS_SECRET_ACCESS_KEY") or UNSET_SECRET
    return secrets


def _is_address(text: str) -> bool:
    return bool(re.fullmatch(r"https?://[A-Za-z0-9.\-_]+(:[0-9]{1,5})?/?", text))
