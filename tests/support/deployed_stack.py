"""What a deployed stack must do, however it was brought up: by Compose, by Pulumi, on the fake Render.

It is asked as strangers, people and programs ask: over HTTP, at its public address. How it is brought up and what its
containers are is each test's own.
"""

from __future__ import annotations

import html
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from dagster_apollo.access.identity.access_file import (
    AccessFile,
    TokenEntry,
    UserEntry,
    digest_of,
    new_token,
    render,
    utc_now,
)
from dagster_apollo.access.identity.passwords import hash_password
from tests.support.webserver import FINAL, Webserver, wait_until

TENANT, JOB = "dbt_williamgrant", "dbt_williamgrant__build"
START_TIMEOUT_SECONDS = 600.0
RUN_TIMEOUT_SECONDS = 900.0
_FORM_TOKEN = re.compile(r'name="token" value="([^"]+)"')
_HISTORY = """
query History($limit: Int!) {
  assetsOrError(limit: $limit) { ... on AssetConnection { nodes {
    key { path } assetMaterializations(limit: 1000) { runId }
  } } }
}"""


@dataclass(frozen=True)
class Credentials:
    """One administrator and one program, and the access file that lets them in."""

    user: str = "owner"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    token: str = field(default_factory=new_token, repr=False)

    def access_file(self) -> str:
        """The file's text."""
        person = UserEntry(role="administrator", password_hash=hash_password(self.password))
        program = TokenEntry(
            role="administrator", sha256=digest_of(self.token), expires=utc_now() + timedelta(days=1)
        )  # fmt: skip
        return render(AccessFile(users={self.user: person}, tokens={"smoke-test": program}))


@dataclass(frozen=True)
class _WithToken(Webserver):
    """A webserver that is asked with a program's token."""

    token: str = field(repr=False)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.address}/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=120,
            trust_env=False,
        )
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:2000]}"
        content = answer.json()
        assert not content.get("errors"), content["errors"]
        data: dict[str, Any] = content["data"]
        return data


@dataclass(frozen=True)
class DeployedStack:
    """A stack at its address, such as `http://127.0.0.1:3000`, and who may come in."""

    address: str
    credentials: Credentials

    @property
    def webserver(self) -> Webserver:
        """Its GraphQL API, asked with the token."""
        return _WithToken(self.address, self.credentials.token)

    def wait_until_it_serves(self, *tenants: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> DeployedStack:
        """Wait until it lives, and these tenants' locations are loaded without an error."""

        def loaded() -> bool:
            try:
                if httpx.get(f"{self.address}/livez", timeout=10, trust_env=False).status_code != 200:
                    return False
                found = self.webserver.locations()
            except httpx.TransportError:
                return False
            return all(tenant in found and found[tenant] is None for tenant in tenants)

        wait_until(loaded, f"{self.address} serves {', '.join(tenants) or 'at all'}", timeout_seconds)
        return self

    def assert_strangers_are_refused(self) -> None:
        """A stranger reads nothing: a page leads to the login, everything else is refused; liveness alone answers."""
        with httpx.Client(base_url=self.address, timeout=30, trust_env=False) as stranger:
            page = stranger.get("/", headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"})
            assert page.is_redirect, f"GET / answered {page.status_code}"
            assert page.headers["location"].partition("?")[0].endswith("/login")
            asked = stranger.post("/graphql", json={"query": "{ version }"})
            assert asked.status_code in (401, 403), f"POST /graphql answered {asked.status_code}"
            assert stranger.get("/status").status_code in (401, 403)
            assert stranger.get("/metrics").status_code in (401, 403)
            wrong = stranger.post("/graphql", json={"query": "{ version }"}, headers={"Authorization": "Bearer no"})
            assert wrong.status_code in (401, 403)
            assert stranger.get("/livez").json() == {"alive": True}

    def assert_the_login_lets_people_in(self) -> None:
        """The form lets the administrator in, who then gets Dagster's own page; another password does not."""
        with self._browser() as stranger:
            assert self._log_in(stranger, "another-password-0123456789").status_code == 401
        with self._browser() as person:
            assert self._log_in(person, self.credentials.password).is_redirect
            page = person.get("/", headers={"Accept": "text/html"})
            assert page.status_code == 200, page.text[:500]
            assert "dagster" in page.text.lower()

    def run(self, tenant: str = TENANT, job: str = JOB) -> set[str]:
        """Launch a tenant's job over GraphQL, wait for its success; the keys of what it built."""
        return self._finished(self.webserver.launch(tenant, job))

    def build(self, *assets: str) -> set[str]:
        """The same for some assets of a tenant, by key, as the button `Materialize` does it."""
        return self._finished(self.webserver.materialize(assets[0].split("/")[0], assets))

    def history(self) -> dict[str, list[str]]:
        """Every asset that was ever built, with the runs that built it, the newest first."""
        nodes = self.webserver.ask(_HISTORY, limit=1000)["assetsOrError"]["nodes"]
        return {
            "/".join(node["key"]["path"]): [event["runId"] for event in node["assetMaterializations"]]
            for node in nodes
            if node["assetMaterializations"]
        }

    def status(self) -> tuple[int, dict[str, Any]]:
        """What `/status` answers to the token."""
        answer = httpx.get(
            f"{self.address}/status",
            headers={"Authorization": f"Bearer {self.credentials.token}"},
            timeout=60,
            trust_env=False,
        )
        content: dict[str, Any] = answer.json()
        return answer.status_code, content

    def _finished(self, run_id: str) -> set[str]:
        def ended() -> bool:
            return self.webserver.run(run_id)["status"] in FINAL

        wait_until(ended, f"run {run_id} ends", RUN_TIMEOUT_SECONDS)
        self.webserver.finish(run_id)
        return self.webserver.built(run_id)

    def _browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=30, trust_env=False, headers={"Origin": self.address})

    def _log_in(self, client: httpx.Client, password: str) -> httpx.Response:
        form = client.get("/login", headers={"Accept": "text/html"})
        assert form.status_code == 200, form.text[:500]
        found = _FORM_TOKEN.search(form.text)
        assert found is not None, "the login page has no form"
        fields = {
            "token": html.unescape(found[1]), "next": "/", "name": self.credentials.user, "password": password,
        }  # fmt: skip
        return client.post("/login", data=fields)
