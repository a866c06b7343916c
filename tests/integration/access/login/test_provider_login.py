"""People who log in by an OpenID Connect provider: dex, a real one, with its own checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from dagster_apollo.fork import Fork
from tests.support.guarded_app import Guarded, access_file, form_field, rules, running, settings_in
from tests.support.oidc import EMAIL, PASSWORD, Dex, running_dex
from tests.support.ports import free_port

RULES = rules(
    domains={"example.com": {"role": "viewer"}},
    groups={
        "shop-team": {"role": "operator", "tenants": ["shop"], "confined": True},
        "admins": {"role": "administrator"},
    },
)


@dataclass
class Both:
    """The application and the provider."""

    app: Guarded
    dex: Dex


@pytest.fixture(scope="module")
def both(module_folder: Path) -> Iterator[Both]:
    with started(module_folder, RULES) as running_both:
        yield running_both


@contextmanager
def started(folder: Path, fork: Fork, **more: str) -> Iterator[Both]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with running_dex(folder, [f"{address}/login/oidc/callback"]) as dex:
        environ = settings_in(folder, None, APOLLO_PUBLIC_URL=address, **{**dex.settings(), **more})
        with running(environ, folder, fork, port) as app:
            yield Both(app, dex)


def to_provider(client: httpx.Client, target: str = "/") -> str:
    """Where the button of the login page leads to."""
    answer = client.get("/login/oidc", params={"next": target})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def through_dex(client: httpx.Client, url: str, email: str, groups: str = "") -> str:
    """Log in at dex as anybody, by its `proxy` connector; the address that it sends back to."""
    headers = {"X-Remote-User": email.partition("@")[0], "X-Remote-User-Email": email}
    if groups:
        headers["X-Remote-Group"] = groups
    url += "&connector_id=proxy"
    while urlsplit(url).path.startswith("/dex/"):
        answer = httpx.get(url, headers=headers, trust_env=False)
        assert answer.status_code in (302, 303), answer.text
        url = str(httpx.URL(url).join(answer.headers["location"]))
    return url


def log_in(client: httpx.Client, email: str, groups: str = "", target: str = "/") -> httpx.Response:
    """The whole way; what the callback answers."""
    return client.get(through_dex(client, to_provider(client, target), email, groups))


def test_the_login_page_leads_to_the_provider_alone(both: Both) -> None:
    with both.app.client() as client:
        page = client.get("/login?next=/assets").text

    assert '<a class="apollo-button" href="/login/oidc?next=/assets">Continue with single sign-on</a>' in page
    assert 'name="password"' not in page


def test_the_request_to_the_provider_carries_state_nonce_and_pkce(both: Both) -> None:
    with both.app.client() as client:
        sent = {name: values[0] for name, values in parse_qs(urlsplit(to_provider(client)).query).items()}

    assert sent["response_type"] == "code"
    assert sent["code_challenge_method"] == "S256"
    assert min(len(sent[name]) for name in ("state", "nonce", "code_challenge")) >= 20
    assert sent["scope"].split() == ["openid", "email", "profile", "groups"]
    assert sent["redirect_uri"] == f"{both.app.address}/login/oidc/callback"


def test_a_person_types_a_password_at_the_provider_and_is_in(both: Both) -> None:
    with both.app.client() as client, httpx.Client(trust_env=False, follow_redirects=True) as at_dex:
        form = at_dex.get(to_provider(client, "/assets") + "&connector_id=local")
        action = form.text.partition('action="')[2].partition('"')[0].replace("&amp;", "&")
        at_dex.follow_redirects = False
        answer = at_dex.post(form.url.join(action), data={"login": EMAIL, "password": PASSWORD})
        while urlsplit(str(answer.headers["location"])).path.startswith("/dex/"):
            answer = at_dex.get(answer.url.join(answer.headers["location"]))
        back = client.get(answer.headers["location"])
        assert (back.status_code, back.headers["location"]) == (303, "/assets")
        who = client.get("/whoami").json()

    assert (who["name"], who["role"], who["tenants"]) == (EMAIL, "viewer", None)
    assert both.app.last("login")["how"] == "oidc"


@pytest.mark.parametrize(
    ("email", "groups", "role", "tenants"),
    [
        ("bob@example.com", "", "viewer", None),
        ("bob@example.com", "shop-team", "operator", ["shop"]),
        ("eve@elsewhere.example", "staff,admins", "administrator", None),
    ],
)
def test_a_rule_says_what_somebody_is(
    both: Both, email: str, groups: str, role: str, tenants: list[str] | None
) -> None:
    with both.app.client() as client:
        assert log_in(client, email, groups).status_code == 303
        who = client.get("/whoami").json()

    assert (who["name"], who["role"], who["tenants"]) == (email, role, tenants)


def test_who_no_rule_knows_stays_outside_and_is_told_who_they_are(both: Both) -> None:
    with both.app.client() as client:
        answer = log_in(client, "eve@elsewhere.example", "staff")
        assert answer.status_code == 403
        assert "says that you are eve@elsewhere.example, and no rule here lets you in" in answer.text
        assert client.get("/whoami").status_code == 401

    line = both.app.last("login")
    assert (line["outcome"], line["reason"], line["name"]) == (
        "refused",
        "no rule lets them in",
        "eve@elsewhere.example",
    )


def test_a_logout_ends_the_session_and_says_that_the_provider_may_still_know(both: Both) -> None:
    with both.app.client(Origin=both.app.address) as client:
        log_in(client, "bob@example.com")
        left = client.post("/logout", data={"token": form_field(client.get("/logout"), "token")})
        assert client.get("/whoami").status_code == 401
        assert "Single sign-on may still know you" in client.get(left.headers["location"]).text


def test_a_rule_that_is_gone_is_gone_for_who_is_logged_in(both: Both, folder: Path) -> None:
    with both.app.client() as client:
        log_in(client, "bob@example.com", "shop-team")
        cookie = client.cookies["apollo_session"]
    environ = settings_in(folder, None, APOLLO_PUBLIC_URL=both.app.address, **both.dex.settings())
    for fork, status in ((rules(domains={"other.example": {}}), 401), (RULES, 200)):
        with running(environ, folder, fork) as app, app.client(Cookie=f"apollo_session={cookie}") as client:
            assert client.get("/whoami").status_code == status


class TestRefused:
    """What comes back and is not what was begun."""

    def test_a_callback_that_nobody_began_here(self, both: Both) -> None:
        before = len(both.app.audit)
        with both.app.client() as victim:
            answer = victim.get("/login/oidc/callback?code=x&state=y")
        assert answer.status_code == 400
        assert len(both.app.audit) == before, "strangers could fill the log"

    def test_the_answer_to_another_browsers_login(self, both: Both) -> None:
        with both.app.client() as attacker, both.app.client() as victim:
            theirs = through_dex(attacker, to_provider(attacker), "bob@example.com")
            to_provider(victim)
            assert victim.get(theirs).status_code == 400
            assert victim.get("/whoami").status_code == 401
            assert both.app.last("login")["outcome"] == "refused"

    def test_a_code_of_another_login(self, both: Both) -> None:
        with both.app.client() as one, both.app.client() as other:
            stolen = parse_qs(urlsplit(through_dex(one, to_provider(one), "admin@example.com")).query)["code"][0]
            mine = parse_qs(urlsplit(to_provider(other)).query)["state"][0]
            answer = other.get("/login/oidc/callback", params={"code": stolen, "state": mine})
            assert answer.status_code == 400, "PKCE: the code is bound to the verifier of the other browser"

    def test_the_same_answer_twice(self, both: Both) -> None:
        with both.app.client() as client:
            back = through_dex(client, to_provider(client), "bob@example.com")
            kept = client.cookies["apollo_flow"]
            assert client.get(back).status_code == 303
            client.cookies.set("apollo_flow", kept)
            assert client.get(back).status_code == 400, "dex lets a code be used once"

    @pytest.mark.parametrize("query", ["", "code=x", "state=x", "code=&state=", "code=%00&state=%00"])
    def test_half_an_answer(self, both: Both, query: str) -> None:
        with both.app.client() as client:
            to_provider(client)
            assert client.get(f"/login/oidc/callback?{query}").status_code == 400

    def test_the_providers_refusal_is_told_without_its_words(self, both: Both) -> None:
        with both.app.client() as client:
            state = parse_qs(urlsplit(to_provider(client)).query)["state"][0]
            words = "<script>alert(1)</script>"
            answer = client.get(
                "/login/oidc/callback", params={"error": "access_denied", "error_description": words, "state": state}
            )
        assert answer.status_code == 403
        assert "alert(1)" not in answer.text
        assert "did not let you in" in answer.text
        assert both.app.last("login")["reason"] == "refused by the provider"

    def test_a_flow_cookie_that_was_changed(self, both: Both) -> None:
        with both.app.client() as client:
            back = through_dex(client, to_provider(client), "bob@example.com")
            client.cookies.set("apollo_flow", client.cookies["apollo_flow"][:-2] + "xx")
            assert client.get(back).status_code == 400

    @pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example"])
    def test_a_way_elsewhere(self, both: Both, target: str) -> None:
        with both.app.client() as client:
            assert log_in(client, "bob@example.com", target=target).headers["location"] == "/"

    def test_a_wrong_client_secret(self, folder: Path) -> None:
        with started(folder, RULES, OIDC_CLIENT_SECRET="canary-not-the-secret") as both, both.app.client() as client:
            answer = log_in(client, "bob@example.com")
            assert answer.status_code == 400
            assert "canary" not in answer.text + json.dumps(both.app.audit)

    def test_nothing_of_a_login_is_in_the_audit(self, both: Both) -> None:
        with both.app.client() as client:
            back = through_dex(client, to_provider(client), "bob@example.com")
            client.get(back)
            written = json.dumps(both.app.audit)
            assert parse_qs(urlsplit(back).query)["code"][0] not in written
            assert client.cookies["apollo_session"] not in written
            assert both.dex.client_secret not in written


class TestAProviderThatIsNotThere:
    def test_it_is_said_and_passwords_still_work_and_it_is_found_when_it_comes(self, folder: Path) -> None:
        port, dex_port = free_port(), free_port()
        address = f"http://127.0.0.1:{port}"
        environ = settings_in(
            folder, access_file(), APOLLO_PUBLIC_URL=address, OIDC_ISSUER=f"http://127.0.0.1:{dex_port}/dex",
            OIDC_CLIENT_ID="dagster", OIDC_CLIENT_SECRET="secret-of-the-application",
        )  # fmt: skip
        with running(environ, folder, RULES, port) as app:
            with app.client() as client:
                answer = client.get("/login/oidc")
                assert answer.status_code == 502
                assert "does not answer" in answer.text
            with app.logged_in() as client:
                assert client.get("/whoami").json()["name"] == "ada"
            with running_dex(folder, [f"{address}/login/oidc/callback"], dex_port), app.client() as client:
                assert log_in(client, "bob@example.com").status_code == 303

    def test_one_that_calls_itself_otherwise_is_refused(self, both: Both, folder: Path) -> None:
        environ = settings_in(folder, None, APOLLO_PUBLIC_URL=both.app.address, **both.dex.settings())
        environ["OIDC_ISSUER"] = both.dex.issuer.replace("127.0.0.1", "localhost")
        with running(environ, folder, RULES) as app, app.client() as client:
            assert client.get("/login/oidc").status_code == 502
            assert app.last("login")["reason"] == "another issuer than OIDC_ISSUER"
