"""Every route that Dagster's webserver has, asked as a stranger: nothing is answered but the short public list."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dagster_apollo.access.identity.login import Login
from dagster_apollo.fork import Fork
from tests.support.guarded_app import BROWSER, access_file, running, served, settings_in, sign_in

PUBLIC = {"/login", "/logout", "/login/style.css", "/livez"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get")


class Guarded(DagsterWebserver[Any, Any]):
    """Dagster's own webserver with the login before it, and nothing else of ours."""

    def __init__(self, context: Any, login: Login) -> None:
        self.login = login
        super().__init__(context)

    def build_middleware(self) -> list[Middleware]:
        return [self.login.middleware(), *super().build_middleware()]


@pytest.fixture(scope="module")
def webserver(module_folder: Path) -> Iterator[tuple[str, list[BaseRoute]]]:
    login = Login.configured(settings_in(module_folder, access_file()), Fork(), module_folder)
    with (
        DagsterInstance.local_temp(str(module_folder)) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        application = Guarded(context, login).create_asgi_app()
        with served(application) as address:
            yield address, application.routes


@pytest.fixture(scope="module")
def stranger(webserver: tuple[str, list[BaseRoute]]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=webserver[0], trust_env=False, timeout=30) as client:
        yield client


def paths_of(routes: list[BaseRoute]) -> list[str]:
    """A path that each route would answer; of a folder of files, one of them."""
    found = []
    for route in routes:
        if isinstance(route, Mount):
            folder = Path(route.app.directory)  # type: ignore[attr-defined]
            inside = next(path for path in folder.rglob("*") if path.is_file())
            found.append(f"{route.path}/{inside.relative_to(folder)}")
        elif isinstance(route, (Route, WebSocketRoute)):
            found.append(
                route.path.replace("{path:path}", "x/y.out")
                .replace("{asset_key:path}", "a")
                .replace("{run_id:str}", "7")
            )
    return sorted(set(found))


def test_no_route_of_dagsters_answers_a_stranger(
    webserver: tuple[str, list[BaseRoute]], stranger: httpx.Client
) -> None:
    paths = paths_of(webserver[1])
    assert {"/graphql", "/server_info", "/logs/x/y.out", "/", "/favicon.png"} <= set(paths)
    answered = {}
    for path in paths:
        for method in METHODS:
            for headers in ({}, BROWSER):
                answer = stranger.request(method, path, headers=headers)
                led_away = answer.status_code == 303 and answer.headers["location"].startswith("/login")
                if not led_away and answer.status_code not in (401, 403):
                    answered[f"{method} {path}"] = answer.status_code
    assert answered == {}


@pytest.mark.parametrize(
    "path",
    [
        "/login/", "/login/../graphql", "/login//graphql", "//login", "/LOGIN", "/login%2f..%2fgraphql", "/login;/x",
        "/livez/", "/livez/../graphql", "/livez%2f", "/login/style.css/", "/login/style.css/../../graphql",
        "/login/style.css%00", "/login/oidc", "/login/oidc/callback", "/%6cogin/x", "/.", "/..", "/%2e%2e/graphql",
        "/graphql?path=/login", "/_next/../login", "/x/../livez", "http://x/livez/y", "/status",
        "/metrics", "/robots.txt", "/manifest.json",
    ],
)  # fmt: skip
def test_no_way_of_writing_a_path_gets_around_it(webserver: tuple[str, list[BaseRoute]], path: str) -> None:
    connection = http.client.HTTPConnection(webserver[0].removeprefix("http://"), timeout=30)
    connection.request("GET", path)  # as it is written: httpx would straighten it first
    answer = connection.getresponse()

    assert answer.status == 401, answer.read()


@pytest.mark.parametrize(
    ("headers"),
    [
        {"X-Forwarded-For": "127.0.0.1"}, {"X-Original-URL": "/livez"}, {"X-Rewrite-URL": "/login"},
        {"X-Forwarded-Prefix": "/login"}, {"Host": "localhost"}, {"X-HTTP-Method-Override": "GET"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Forwarded-User": "ada"}, {"X-Remote-User": "ada"}, {"Authorization": "Bearer"},
        {"Cookie": "apollo_session=ada; __Host-apollo_session=ada"},
    ],
    ids=str,
)  # fmt: skip
def test_no_header_gets_around_it(stranger: httpx.Client, headers: dict[str, str]) -> None:
    assert stranger.get("/graphql", headers=headers).status_code == 401


@pytest.mark.parametrize("method", ["OPTIONS", "PUT"])
@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_method_that_the_login_does_not_know_is_refused_plainly(
    stranger: httpx.Client, path: str, method: str
) -> None:
    assert stranger.request(method, path).status_code in (403, 405)


@pytest.mark.parametrize("path", ["/graphql", "/", "/login", "/livez", "/anything"])
@pytest.mark.parametrize("header", ["", "apollo_wrong"])
def test_no_websocket_is_opened_for_a_stranger(webserver: tuple[str, list[BaseRoute]], path: str, header: str) -> None:
    headers = {"Authorization": f"Bearer {header}"} if header else {"Origin": webserver[0]}
    with pytest.raises(InvalidStatus) as refused:
        connect(webserver[0].replace("http", "ws", 1) + path, additional_headers=headers, proxy=None)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", sorted(PUBLIC - {"/livez"}))
def test_what_is_public_is_answered(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code in (200, 303)


@pytest.mark.parametrize("host", ["data.example.com", "10.0.0.7:10000", "dagster-webserver-abc.onrender.com", "x"])
def test_liveness_is_asked_under_any_name(host: str, folder: Path) -> None:
    with running(settings_in(folder, access_file()), folder) as app, app.client(Host=host) as client:
        assert client.get("/livez").json() == {"alive": True}
        assert client.post("/livez").status_code == 401


def test_a_page_leads_a_stranger_to_the_login_and_a_fetch_is_told(stranger: httpx.Client) -> None:
    page = stranger.get("/locations", headers=BROWSER)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/locations")
    navigation = stranger.get("/locations", headers={"Sec-Fetch-Mode": "navigate"})
    assert navigation.status_code == 303
    fetched = stranger.post("/graphql", json={"query": "{ version }"}, headers={**BROWSER, "Sec-Fetch-Mode": "cors"})
    assert fetched.status_code == 401
    assert fetched.json() == {"error": "Sign in at /login, or send a token: Authorization: Bearer …"}


def test_dagsters_page_is_served_to_who_is_logged_in_with_the_way_out(
    webserver: tuple[str, list[BaseRoute]],
) -> None:
    with httpx.Client(base_url=webserver[0], trust_env=False, timeout=30) as client:
        assert sign_in(client, "ada", "nine wet otters sing").status_code == 303
        page = client.get("/overview", headers=BROWSER)
    assert page.status_code == 200
    assert "window.__webpack_public_path__" in page.text
    assert 'class="apollo-strip"' in page.text
    assert "nonce-" in page.headers["content-security-policy"]
