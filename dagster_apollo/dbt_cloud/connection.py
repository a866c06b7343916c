"""From settings to a dbt Cloud environment: which one, and how it is reached. Nothing is asked of it here."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dagster_apollo.errors import Problem, SettingsError
from dagster_apollo.settings import Values
from dagster_apollo.tenant import Tenant

TOKEN, ACCESS_URL = "DBT_CLOUD_TOKEN", "DBT_CLOUD_ACCESS_URL"


@dataclass(frozen=True)
class Connection:
    """One environment of one project of one account.

    Attributes:
        access_url: the account's address, without a slash at its end.
        account_id, project_id, environment_id: the numbers that stand in dbt Cloud's own addresses.
        token: the service token.
    """

    access_url: str
    account_id: int
    project_id: int
    environment_id: int
    token: str = field(repr=False)

    @property
    def place(self) -> str:
        """Which environment that is, for people and for comparison."""
        return (
            f"{self.access_url}/deploy/{self.account_id}/projects/{self.project_id}/environments/{self.environment_id}"
        )


def connection_of(tenant: Tenant, values: Values) -> Connection | None:
    """The tenant's environment; None on `local` when no token is set, where its models can be looked at but not built.

    Raises:
        SettingsError: with every setting that is missing or malformed.
    """
    cloud = tenant.config.dbt_cloud
    assert cloud is not None  # noqa: S101 - `tenant.yaml` was refused otherwise
    token, access_url = values.text(TOKEN) or "", (values.text(ACCESS_URL) or "").rstrip("/")
    problems = []
    if any(character.isspace() or not character.isprintable() for character in token):
        what = "holds a blank or a control character"
        problems.append(Problem(values.source(TOKEN, tenant.name), what, "Paste the token alone, on one line."))
    if problem := _url_problem(values.source(ACCESS_URL, tenant.name), access_url):
        problems.append(problem)
    if not token and values.target != "local":
        remedy = "Make a service token with the permission Job Admin and set it."
        problems.append(Problem(values.source(TOKEN, tenant.name), "is not set", remedy))
    if problems:
        raise SettingsError(problems, f"the dbt Cloud settings of {tenant.name} are not right")
    if not token:
        return None
    return Connection(access_url, cloud.account_id, cloud.project_id, cloud.environment_id, token)


def _url_problem(variable: str, url: str) -> Problem | None:
    remedy = "Give the Access URL of dbt Cloud's account settings, `https://ab123.us1.dbt.com`."
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        return Problem(variable, "is not an address", remedy)
    if not known or "@" in parts.netloc:
        return Problem(variable, "is not an address of the form `https://host`", remedy)
    if parts.path or parts.query or parts.fragment:
        return Problem(variable, "has more in it than scheme and host", remedy)
    return None
