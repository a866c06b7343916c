"""dagster-dbt's client, with a transport that says why: what dbt Cloud answered, or that it did not.

Retried is what may be asked twice. A run that was perhaps triggered is not triggered again but looked for, by a cause
that no other has (`runs.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import requests

from dagster_apollo.dbt_cloud.connection import ACCESS_URL, TOKEN, Connection
from dagster_apollo.dbt_cloud.dagster_dbt_internals import (
    DbtCloudCredentials,
    DbtCloudWorkspace,
    DbtCloudWorkspaceClient,
)
from dagster_apollo.errors import DbtCloudError, Problem

REQUEST_TIMEOUT_SECONDS = 15
_TRIES = 4
_PASSING = (429, 500, 502, 503, 504)
_REMEDIES = {
    401: f"Check {TOKEN}, and {ACCESS_URL}: an account is known at its own address alone.",
    403: f"Give the token of {TOKEN} the permission Job Admin for the project.",
    404: "Check the numbers under `dbt_cloud` in tenant.yaml, and what the token may see.",
}


class CloudClient(DbtCloudWorkspaceClient):
    """The endpoints of one account."""

    def __repr__(self) -> str:
        return f"CloudClient({self.access_url}, account {self.account_id})"

    def ask(
        self, method: str, endpoint: str, data: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None
    ) -> Any:
        """What is told of an endpoint that dagster-dbt's client does not ask in this way.

        Raises:
            DbtCloudError: dbt Cloud refused, or did not answer.
        """
        return self._make_request(method, endpoint, self.api_v2_url, data, params).json()["data"]

    def _make_request(
        self,
        method: str,
        endpoint: str | None,
        base_url: str,
        data: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        session_attr: str = "_get_session",
        tolerated_error_statuses: AbstractSet[int] = frozenset(),
    ) -> requests.Response:
        """One request, tried again where that can do no harm.

        Its answer holds what dagster-dbt's client takes out of it: a page that a proxy or a login puts in the place of
        the API's answer, with the status 200, is no answer.

        Raises:
            DbtCloudError: dbt Cloud refused, or did not answer.
        """
        url = f"{base_url}/{endpoint}" if endpoint else base_url
        for tries_left in reversed(range(self.request_max_retries + 1)):
            try:
                session: requests.Session = getattr(self, session_attr)()
                with session:
                    response = session.request(method, url, json=data, params=params, timeout=self.request_timeout)
            except requests.RequestException as error:
                failed = DbtCloudError(Problem(self.access_url, _unanswered(error, self.request_timeout), _LATER))
                again = method.lower() != "post" or isinstance(error, requests.ConnectTimeout)
            else:
                if response.status_code in tolerated_error_statuses or _is_told(response, url):
                    return response
                failed = _refused(method, url, response)
                passing = response.ok or response.status_code in _PASSING
                again = passing and (method.lower() != "post" or response.status_code == 429)
            if not (again and tries_left):
                raise failed
            time.sleep(self.request_retry_delay)
        raise AssertionError("unreachable")


class CloudWorkspace(DbtCloudWorkspace):
    """dagster-dbt's workspace over that client."""

    def __repr__(self) -> str:
        return f"CloudWorkspace(project {self.project_id}, environment {self.environment_id})"

    def get_client(self) -> CloudClient:
        """The client."""
        credentials = self.credentials
        assert isinstance(credentials, DbtCloudCredentials)  # noqa: S101 - no resource of Dagster's that gives them
        return CloudClient(
            account_id=credentials.account_id,
            token=credentials.token,
            access_url=credentials.access_url,
            request_max_retries=self.request_max_retries,
            request_retry_delay=self.request_retry_delay,
            request_timeout=self.request_timeout,
        )

    def adhoc_job_id(self) -> int:
        """The job that Dagster's runs are runs of; made where it is not there."""
        [job] = self._get_or_create_dagster_adhoc_jobs()
        return job.id


def open_workspace(
    connection: Connection, *, timeout_seconds: int = REQUEST_TIMEOUT_SECONDS, tries: int = _TRIES
) -> CloudWorkspace:
    """The workspace of a connection. Nothing is asked of dbt Cloud yet."""
    credentials = DbtCloudCredentials(connection.account_id, connection.token, connection.access_url)
    return CloudWorkspace(
        credentials=credentials,
        project_id=connection.project_id,
        environment_id=connection.environment_id,
        request_max_retries=tries - 1,
        request_retry_delay=1.0,
        request_timeout=timeout_seconds,
    )


_LATER = f"Check {ACCESS_URL}; else wait: https://status.getdbt.com tells of outages."


def _is_told(response: requests.Response, url: str) -> bool:
    """Whether it is the API's own answer, or an artifact of dbt's: all of a kind have one field in common."""
    try:
        content = response.json() if response.ok else None
    except ValueError:
        return False
    name = "metadata" if "/artifacts/" in url else "data"
    return isinstance(content, dict) and isinstance(content.get(name), dict | list)


def _unanswered(error: requests.RequestException, timeout_seconds: int) -> str:
    if isinstance(error, requests.Timeout):
        return f"did not answer within {timeout_seconds} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "has no certificate that is trusted here"
    return "cannot be reached"


def _refused(method: str, url: str, response: requests.Response) -> DbtCloudError:
    """The status and dbt Cloud's own words; a proxy's page is left out, and one with a good status is no answer."""
    if response.ok:
        what = f"answered {response.status_code} to {method.upper()} {url} with something else than was asked for"
        return DbtCloudError(Problem("dbt Cloud, or what stands before it", what, _LATER))
    try:
        told = str(response.json()["status"]["user_message"])
        data = response.json().get("data")
        told += f" {data}" if data and response.status_code == 400 else ""
    except (ValueError, KeyError, TypeError):
        told = response.reason or "no reason is given"
    code = response.status_code
    what = f"answered {code} to {method.upper()} {url}: {told}"
    return DbtCloudError(Problem("dbt Cloud", what, _REMEDIES.get(code, _LATER if code in _PASSING else "")), code)
