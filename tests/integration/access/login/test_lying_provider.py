"""An ID token that is not exactly what was asked for lets nobody in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.guarded_app import Guarded, rules, running, settings_in
from tests.support.lying_provider import (
    ANOTHER_KEY,
    CLIENT_ID,
    CLIENT_SECRET,
    LyingProvider,
    running_liar,
    shared_secret,
)

RULES = rules(domains={"example.com": {"role": "viewer"}}, groups={"admins": {"role": "administrator"}})


@dataclass
class Both:
    """The application, and the provider that it believes, within reason."""

    app: Guarded
    provider: LyingProvider

    def log_in(self, client: httpx.Client, **of_the_answer: Any) -> httpx.Response:
        sent = parse_qs(urlsplit(client.get("/login/oidc").headers["location"]).query)
        self.provider.nonce = sent["nonce"][0]
        for name, value in of_the_answer.items():
            setattr(self.provider, name, value)
        return client.get("/login/oidc/callback", params={"code": "any", "state": sent["state"][0]})


@pytest.fixture
def both(folder: Path) -> Iterator[Both]:
    with running_liar() as provider:
        environ = settings_in(
            folder, None, APOLLO_PUBLIC_URL="http://127.0.0.1", OIDC_ISSUER=provider.issuer, OIDC_CLIENT_ID=CLIENT_ID,
            OIDC_CLIENT_SECRET=CLIENT_SECRET,
        )  # fmt: skip
        with running(environ, folder, RULES) as app:
            yield Both(app, provider)


def test_an_honest_answer_lets_in(both: Both) -> None:
    with both.app.client() as client:
        assert both.log_in(client).status_code == 303
        assert client.get("/whoami").json()["name"] == "bob@example.com"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"claims": {"nonce": "another"}}, id="another nonce"),
        pytest.param({"claims": {"nonce": None}}, id="no nonce"),
        pytest.param({"claims": {"iss": "https://evil.example"}}, id="another issuer"),
        pytest.param({"claims": {"iss": None}}, id="no issuer"),
        pytest.param({"claims": {"aud": "another-application"}}, id="another audience"),
        pytest.param({"claims": {"aud": None}}, id="no audience"),
        pytest.param({"claims": {"aud": ["another-application"], "azp": CLIENT_ID}}, id="an audience of several"),
        pytest.param({"claims": {"exp": int(time.time()) - 3600}}, id="expired"),
        pytest.param({"claims": {"exp": None}}, id="no end"),
        pytest.param({"claims": {"iat": int(time.time()) + 3600}}, id="from the future"),
        pytest.param({"claims": {"sub": None}}, id="nobody"),
        pytest.param({"claims": {"at_hash": "x"}}, id="a hash of another token"),
        pytest.param({"key": ANOTHER_KEY}, id="another's signature"),
        pytest.param({"key": shared_secret(), "algorithm": "HS256"}, id="signed with our own secret"),
        pytest.param({"tokens": {"id_token": None}}, id="no token"),
        pytest.param({"tokens": {"id_token": "a.b.c"}}, id="no token at all"),
        pytest.param({"tokens": {"id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1LTEifQ."}}, id="unsigned"),
        pytest.param({"tokens": {"id_token": ""}}, id="empty"),
        pytest.param({"tokens": {"error": "invalid_grant"}}, id="an error"),
    ],
)
def test_any_other_does_not(both: Both, answer: dict[str, Any]) -> None:
    with both.app.client() as client:
        assert both.log_in(client, **answer).status_code in (400, 502)
        assert client.get("/whoami").status_code == 401
    assert both.app.last("login")["outcome"] == "refused"


class TestWhatIsSaidAtUserinfo:
    """A thin ID token, as Okta gives it, is completed."""

    THIN = {"email": None, "email_verified": None}  # noqa: RUF012

    def test_it_completes_the_token(self, both: Both) -> None:
        both.provider.userinfo = {"sub": "u-1", "email": "ann@example.com", "groups": ["admins"]}
        with both.app.client() as client:
            assert both.log_in(client, claims=self.THIN).status_code == 303
            assert client.get("/whoami").json()["role"] == "administrator"

    def test_but_not_that_of_somebody_else(self, both: Both) -> None:
        both.provider.userinfo = {"sub": "u-2", "email": "ann@example.com", "groups": ["admins"]}
        with both.app.client() as client:
            assert both.log_in(client, claims=self.THIN).status_code == 400

    def test_and_what_the_token_says_goes_before_it(self, both: Both) -> None:
        both.provider.userinfo = {"sub": "u-1", "email": "ann@example.com", "email_verified": True}
        with both.app.client() as client:
            assert both.log_in(client, claims={"email_verified": False}).status_code == 403


def test_groups_that_entra_left_out_are_said(both: Both) -> None:
    with both.app.client() as client:
        answer = both.log_in(client, claims={"_claim_names": {"groups": "src1"}})
    assert answer.status_code == 403
    assert "more groups than" in answer.text
