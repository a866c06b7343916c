"""Every route that the webserver has: to strangers, and past GraphQL to what files and events tell of a tenant."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from dagster import AssetKey
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dagster_apollo.access.scoping.scoped_webserver import ScopedWebserver
from tests.support.scoped_walk import leaked
from tests.support.scoped_world import ALPACA, REPOSITORY, ZEBRA, NamedByHeader, World, running_code_servers, serving


def paths_of(routes: list[BaseRoute], world: World) -> Iterator[str]:
    """A path on which each route answers, one that names zebra where it can name a tenant."""
    given = {
        "path:path": "/".join(world.past[ZEBRA].log_keys[-1]) + "/out",
        "run_id:str": world.past[ZEBRA].runs["assets"],
        "asset_key:path": "zebra/orders",
    }
    for route in routes:
        path = str(getattr(route, "path", ""))
        if isinstance(route, Mount):
            yield f"{path}/x"
        else:
            yield re.sub(r"{(.*?)}", lambda found: given[found[1]], path)


def routes(world: World) -> list[BaseRoute]:
    return list(world.client.app.routes)  # type: ignore[attr-defined]


def test_a_stranger_is_answered_401_by_every_route_and_method(world: World) -> None:
    paths = sorted(set(paths_of(routes(world), world)))
    assert "/graphql" in paths
    assert len(paths) > 15

    answered = {
        (method, path): world.client.request(method, path, follow_redirects=False).status_code
        for path in [*paths, "/nowhere", "/graphql/", "//graphql"]
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
    }

    assert {asked: status for asked, status in answered.items() if status != 401} == {}


def test_a_strangers_websocket_is_refused(world: World) -> None:
    with pytest.raises(WebSocketDisconnect), world.client.websocket_connect("/graphql", subprotocols=["graphql-ws"]):
        pass


def test_nothing_that_is_not_a_user_lets_anybody_in(world: World) -> None:
    assert world.http("nobody", "GET", "/server_info").status_code == 401
    assert world.http("viewer", "GET", "/server_info").status_code == 200


@pytest.mark.parametrize("prefix", ["", "/below"])
def test_routes_from_outside_stand_before_dagsters_own_and_say_who_reaches_them(
    world: World, tmp_path: Path, prefix: str
) -> None:
    def answer(request: object) -> JSONResponse:
        return JSONResponse({"mine": True})

    outside = {"public_routes": [Route("/livez", answer)], "routes": [Route("/status", answer)]}
    target = running_code_servers(world, tmp_path)
    with serving(world.instance, target, app_path_prefix=prefix, **outside) as other:
        assert other.client.get("/livez").json() == {"mine": True}
        assert other.client.get("/status").status_code == 401
        assert other.http("viewer", "GET", "/status").json() == {"mine": True}
        for path in ("/", "/graphql", "/server_info"):
            assert other.client.get(prefix + path).status_code == 401
        assert other.http("viewer", "GET", f"{prefix}/server_info").status_code == 200
        hidden = other.http("confined-operator", "GET", f"{prefix}/download_debug/{world.past[ZEBRA].runs['assets']}")
        assert hidden.status_code == 404


def test_a_route_that_nobody_reviewed_is_for_administrators(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = ScopedWebserver.__mro__[1].build_routes

    def with_one_more(self: ScopedWebserver) -> list[BaseRoute]:
        return [Route("/added_by_an_upgrade", lambda request: JSONResponse({})), *stock(self)]

    monkeypatch.setattr(ScopedWebserver.__mro__[1], "build_routes", with_one_more)
    webserver = ScopedWebserver(world.process, middleware=[Middleware(NamedByHeader)])
    client = TestClient(webserver.create_asgi_app())

    def status(user: str) -> int:
        return client.get("/added_by_an_upgrade", headers={"x-user": user}).status_code

    assert [status(user) for user in ("operator-of-all", "confined-administrator", "administrator")] == [403, 403, 200]


def test_the_ui_is_served_to_whoever_is_confined(world: World) -> None:
    page = world.http("confined-viewer", "GET", "/")

    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert leaked(world, page.text) == set()


# ---- GraphQL: by POST of JSON


def test_graphql_is_not_asked_by_get_nor_in_a_form_or_plain_text(world: World) -> None:
    mutation = 'mutation { setSensorCursor(sensorSelector: {repositoryLocationName: "alpaca", repositoryName: "'
    mutation += REPOSITORY + '", sensorName: "watcher"}, cursor: "forged") { __typename } }'
    asked = f"/graphql?query={quote(mutation)}"
    before = world.instance.all_instigator_state()

    def post(content_type: str, body: str = "x") -> int:
        headers = {"content-type": content_type}
        return int(world.http("administrator", "POST", asked, content=body, headers=headers).status_code)

    assert world.http("administrator", "GET", asked).status_code == 405
    assert world.http("administrator", "HEAD", asked).status_code == 405
    form = "application/x-www-form-urlencoded"
    assert [post(kind) for kind in ("text/plain", form, "application/graphql", "")] == [415] * 4
    assert post("text/plain; application/json") == 415
    assert world.instance.all_instigator_state() == before
    body = json.dumps({"query": "{ version }"})
    assert post("application/json; charset=utf-8", body) == 200


def test_a_browser_that_opens_graphql_is_shown_its_page_and_nothing_is_run(world: World) -> None:
    page = world.http("viewer", "GET", "/graphql?query={version}", headers={"accept": "text/html"})

    assert page.status_code == 200
    assert "<!DOCTYPE html>" in page.text or "<html" in page.text


def test_only_who_sees_everything_is_shown_a_stack_trace(world: World) -> None:
    question = "{ instance { concurrencyLimit { limit } } }"
    broken = "{ isPipelineConfigValid(mode: 1) { __typename } }"
    assert world.http("viewer", "POST", "/graphql", json={"query": broken}).status_code == 400

    def told(user: str) -> str:
        return json.dumps(world.ask(user, question))

    assert "errorInfo" in told("administrator")
    assert "errorInfo" not in told("confined-operator")


def test_a_refusal_is_answered_403_not_as_a_fault_of_the_server(world: World) -> None:
    answer = world.http("viewer", "POST", "/graphql", json={"query": "mutation { setNuxSeen }"})

    assert answer.status_code == 403
    assert answer.json()["errors"][0]["message"] == "not permitted: setNuxSeen"


# ---- files


def test_output_and_debug_files_are_served_to_whom_the_run_is_visible(world: World) -> None:
    for tenant, statuses in ((ALPACA, [200, 200, 200]), (ZEBRA, [200, 200, 404])):
        past = world.past[tenant]
        for path in (f"/logs/{'/'.join(past.log_keys[-1])}/out", f"/download_debug/{past.runs['assets']}"):
            users = ("administrator", "viewer", "confined-viewer")
            assert [world.http(user, "GET", path).status_code for user in users] == statuses, path
    own = world.http("confined-viewer", "GET", f"/logs/{'/'.join(world.past[ALPACA].log_keys[-1])}/out")
    assert "alpaca_printed" in own.text


def test_no_output_of_a_hidden_tenant_is_served(world: World) -> None:
    for key in world.past[ZEBRA].log_keys:
        for extension in ("out", "err", "complete"):
            path = f"/logs/{'/'.join(key)}/{extension}"
            assert world.http("confined-operator", "GET", path).status_code == 404, path


def test_no_log_key_climbs_from_a_visible_run_to_a_hidden_one(world: World) -> None:
    own, hidden = world.past[ALPACA].runs["assets"], world.past[ZEBRA].log_keys[-1]
    climbing = [
        [own, "..", *hidden],
        [own, "compute_logs", "..", "..", *hidden],
        ["", *hidden],
        [".", *hidden],
        [own, "../" + "/".join(hidden)],
        [own, "x\\..", *hidden],
        [own, *hidden],
    ]
    for key in climbing:
        for encode in (str, lambda part: quote(part, safe="").replace(".", "%2e")):
            path = f"/logs/{'/'.join(map(encode, key))}/out"
            assert "zebra_printed" not in world.http("confined-operator", "GET", path).text, path
        answer = world.ask("confined-operator", "query($k: [String!]!) { capturedLogs(logKey: $k) { stdout } }", k=key)
        assert "zebra_printed" not in json.dumps(answer), key
    shown = world.ask("administrator", "query($k: [String!]!) { capturedLogs(logKey: $k) { stdout } }", k=hidden)
    assert "zebra_printed" in json.dumps(shown)


def test_the_debug_file_of_a_visible_run_says_nothing_of_another_tenant(world: World) -> None:
    file = world.http("confined-viewer", "GET", f"/download_debug/{world.past[ALPACA].runs['assets']}")

    assert leaked(world, gzip.decompress(file.content).decode()) == set()


def test_notebooks_are_for_administrators(world: World) -> None:
    path = "/notebook?repoLocName=alpaca&path=/etc/x.ipynb"

    for user in ("operator-of-all", "confined-operator", "confined-administrator", "viewer"):
        assert world.http(user, "GET", path).status_code == 403
        assert world.http(user, "GET", f"/dagit{path}").status_code == 403


# ---- asset events by REST


@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
@pytest.mark.parametrize("key", ["zebra/orders", "zebra/depended_on", "zebra/claimed", "alpaca/boom"])
def test_an_event_is_reported_by_who_operates_the_asset(world: World, kind: str, key: str) -> None:
    def reports(user: str) -> bool:
        before = world.instance.event_log_storage.get_maximum_record_id()
        world.http(user, "POST", f"/report_asset_{kind}/{key}", json={"passed": True, "check_name": "check"})
        stored = world.instance.event_log_storage.get_maximum_record_id() != before
        event = world.audited[-1]
        assert event["name"] == f"report_asset_{kind}"
        assert (event["outcome"] == "ok") == stored
        assert event["assets"] == [key]
        return stored

    theirs = key.startswith(ALPACA)
    users = ("viewer", "confined-viewer", "operator-of-alpaca", "confined-operator")
    assert [reports(user) for user in users] == [False, False, theirs, theirs]
    if theirs:
        world.instance.wipe_assets([AssetKey(key.split("/"))])


def test_an_asset_that_the_body_names_is_guarded_and_audited_as_one_that_the_path_names(world: World) -> None:
    before = world.instance.event_log_storage.get_maximum_record_id()

    for body in ({"asset_key": [ZEBRA, "orders"]}, {"asset_key": [ZEBRA, "depended_on"]}):
        answer = world.http("operator-of-alpaca", "POST", "/report_asset_materialization/", json=body)
        assert answer.status_code in (401, 403)
        event = world.audited[-1]
        assert (event["outcome"], event["tenants"], event["assets"]) == (
            "refused",
            [ZEBRA],
            ["/".join(body["asset_key"])],
        )
    assert world.instance.event_log_storage.get_maximum_record_id() == before
