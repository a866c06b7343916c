"""A person's way in a real browser: outside, in, an asset graph that lives, a run, and out again.

Webserver, daemon and code host are processes as they are deployed, on one Postgres. The way by a provider is shown with
dex, whose own login form is filled in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, WebSocket, expect

from dagster_apollo.access.identity.access_file import wrapped
from tests.support.guarded_app import PASSWORD, access_file, form_field, rules, running, settings_in, token, user
from tests.support.oidc import EMAIL, running_dex
from tests.support.oidc import PASSWORD as PASSWORD_AT_DEX
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import Gate, write_tenant

pytestmark = pytest.mark.slow

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def gate(module_folder: Path) -> Gate:
    """Before the second model: what happens while a run is in progress is seen."""
    made = Gate(module_folder / "gate")
    made.folder.chmod(0o777)  # a tenant's process may be another user's
    return made


@pytest.fixture(scope="module")
def roles(module_folder: Path, postgres: Postgres, gate: Gate) -> Iterator[Roles]:
    """Two tenants; `bob` operates `alpha` and sees nothing else."""
    with roles_of(module_folder, postgres) as made:
        models = {"first.sql": "select 1 as id", "second.py": gate.model(after="first")}
        write_tenant(made.tenants_dir, "alpha", models)
        write_tenant(made.tenants_dir, "beta", {"hidden_one.sql": "select 1 as id"})
        text, entry = token("administrator", ends_in=timedelta(hours=2))
        made.tokens = {**made.tokens, "all": text}
        people = access_file(bob=user("operator", ("alpha",), confined=True), monitor=entry)
        made.start("code")
        made.start("daemon")
        made.start("webserver", "--migrate", APOLLO_ACCESS=wrapped(people))
        made.wait_until(lambda: loaded(made) == {"alpha", "beta"}, "both tenants are loaded")
        yield made


def loaded(roles: Roles) -> set[str]:
    return {name for name, entry in roles.status().get("locations", {}).items() if entry["loaded"]}


class Sockets:
    """What a page hears by its WebSockets."""

    def __init__(self, page: Page) -> None:
        self.heard: list[str] = []
        self.open = 0
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        self.open += 1
        socket.on("framereceived", lambda frame: self.heard.append(str(frame)))
        socket.on("close", self._closed)

    def _closed(self, _: object) -> None:
        self.open -= 1


def address(roles: Roles) -> str:
    return f"http://localhost:{roles.ports['webserver']}"


def log_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def until(page: Page, holds: Callable[[], bool]) -> bool:
    """Wait for something while the page lives on."""
    for _ in range(PATIENCE_MS // 100):
        if holds():
            return True
        page.wait_for_timeout(100)
    return False


def audited(roles: Roles, name: str) -> list[dict[str, Any]]:
    """What the audit says that somebody did."""
    lines = [json.loads(line) for line in roles.said("webserver").splitlines() if line.startswith('{"audit"')]
    return [line for line in lines if line.get("user") == name]


def runs_of(roles: Roles, name: str) -> list[str]:
    """The runs that somebody launched, as the audit says."""
    return [run for line in audited(roles, name) if line["audit"] == "mutation" for run in line.get("runs", [])]


def test_from_outside_to_a_run_and_out_again(roles: Roles, page: Page, gate: Gate) -> None:
    sockets = Sockets(page)
    page.goto(f"{address(roles)}/asset-groups")
    expect(page).to_have_title("Sign in · apollo")
    expect(page.get_by_label("Name")).to_be_focused()

    page.get_by_label("Name").fill("bob")
    page.get_by_label("Password").fill("not that one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
    expect(page.get_by_label("Password")).to_be_focused()

    log_in(page, "bob")
    page.wait_for_url(f"{address(roles)}/asset-groups*")
    graph = page.get_by_text("Never materialized")
    expect(graph).to_have_count(2, timeout=PATIENCE_MS)
    expect(page.get_by_text("hidden_one")).to_have_count(0)
    strip = page.get_by_role("complementary", name="Account")
    expect(strip).to_contain_text("Signed in as bob, operator of alpha")
    covered = page.evaluate("""() => {
        const strip = document.querySelector('.apollo-strip').getBoundingClientRect();
        const app = document.querySelector('#root').getBoundingClientRect();
        return [Math.round(app.bottom) > Math.round(strip.top), strip.bottom > innerHeight];
    }""")
    assert covered == [False, False]

    page.get_by_role("button", name="Materialize all").click()
    assert until(page, lambda: gate.reached), roles.logs
    expect(page.get_by_text("Materializing")).to_have_count(1, timeout=PATIENCE_MS)
    gate.open()
    expect(page.get_by_text(re.compile("^Materialized"))).to_have_count(2, timeout=PATIENCE_MS)

    page.get_by_role("button", name="Materialize all").click()
    assert until(page, lambda: len(runs_of(roles, "bob")) == 2)
    page.goto(f"{address(roles)}/runs/{runs_of(roles, 'bob')[-1]}")
    assert until(page, lambda: "RunSuccessEvent" in "".join(sockets.heard)), "the run's page is told by its WebSocket"
    heard = "".join(sockets.heard)
    assert "MaterializationEvent" in heard
    assert "beta" not in heard

    strip.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("You are signed out.")
    page.go_back()
    expect(page).to_have_title("Sign in · apollo")
    page.goto(f"{address(roles)}/runs")
    expect(page).to_have_title("Sign in · apollo")

    told = [(line["audit"], line["outcome"], line.get("mutation")) for line in audited(roles, "bob")]
    assert ("login", "ok", None) in told
    assert told[-1] == ("logout", "ok", None)


def test_a_logout_elsewhere_closes_the_pages_sockets_and_its_next_page_is_the_login(roles: Roles, page: Page) -> None:
    sockets = Sockets(page)
    page.goto(address(roles))
    log_in(page, "ada")
    expect(page.get_by_text("Lineage", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    assert until(page, lambda: "connection_ack" in "".join(sockets.heard))
    assert sockets.open > 0

    jar = {str(cookie.get("name")): str(cookie.get("value")) for cookie in page.context.cookies()}
    with httpx.Client(base_url=address(roles), cookies=jar, trust_env=False, timeout=30) as other:
        token_of_form = form_field(other.get("/logout"), "token")
        answer = other.post("/logout", data={"token": token_of_form}, headers={"Origin": address(roles)})
        assert answer.status_code == 303
    assert until(page, lambda: sockets.open == 0)
    page.reload()
    expect(page).to_have_title("Sign in · apollo")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_needs_no_script_and_nothing_but_its_stylesheet(roles: Roles, page: Page, scheme: str) -> None:
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(address(roles)).partition("?")[0]))
    page.on("console", lambda message: said.append(message.text))
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{address(roles)}/login")

    assert asked == ["/login", "/login/style.css"]
    assert said == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 384) == (scheme == "dark")
    names = ["name", "password", ""]
    for name in names:
        assert page.evaluate("document.activeElement.name") == name
        page.keyboard.press("Tab")


def test_by_a_provider_whose_own_form_is_filled_in(folder: Path, page: Page) -> None:
    port = free_port()
    url = f"http://localhost:{port}"
    with running_dex(folder, [f"{url}/login/oidc/callback"]) as dex:
        environ = settings_in(folder, access_file(), APOLLO_PUBLIC_URL=url, **dex.settings())
        with running(environ, folder, rules(domains={"example.com": {"role": "viewer"}}), port):
            page.goto(f"{url}/assets?view=lineage")
            page.get_by_role("link", name="Continue with single sign-on").click()
            page.get_by_role("link", name="Log in with Email").click()
            page.locator("#login").fill(EMAIL)
            page.locator("#password").fill(PASSWORD_AT_DEX)
            page.keyboard.press("Enter")
            page.wait_for_url(f"{url}/assets?view=lineage")
            expect(page.get_by_role("complementary", name="Account")).to_contain_text(f"Signed in as {EMAIL}, viewer")
            page.get_by_role("button", name="Sign out").click()
            expect(page.get_by_role("status")).to_contain_text("You are signed out.")
