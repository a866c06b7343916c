"""WebSockets: refused to strangers and to other sites' pages, and closed when the session behind them ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dagster_apollo.access.identity.access_file import render
from dagster_apollo.access.identity.open_sockets import CLOSED_BY_US
from tests.support.guarded_app import Guarded, access_file, form_field, running, settings_in, token, user

TOKEN, ENTRY = token()


@pytest.fixture
def app(folder: Path) -> Iterator[Guarded]:
    with running(settings_in(folder, access_file(bob=user("operator"), ci=ENTRY)), folder) as guarded:
        yield guarded


@contextmanager
def opened(app: Guarded, cookies: httpx.Cookies | None = None, **headers: str) -> Iterator[ClientConnection]:
    more = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
    address = app.address.replace("http://", "ws://") + "/graphql"
    with connect(
        address,
        additional_headers={**headers, **more},
        subprotocols=["graphql-ws"],
        proxy=None,  # type: ignore[list-item]
    ) as socket:
        yield socket


def code_at_the_end(socket: ClientConnection) -> int | None:
    """With which code the server closes, whatever it says before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=30)
    return socket.close_code


def test_who_is_logged_in_hears_and_is_heard(app: Guarded) -> None:
    with app.logged_in() as client, opened(app, client.cookies, Origin=app.address) as socket:
        assert json.loads(socket.recv(timeout=10)) == {"number": 0, "name": "ada"}
        socket.send("hello")
        said = [json.loads(socket.recv(timeout=10)) for _ in range(10)]
    assert {"echo": "hello"} in said


def test_a_stranger_is_refused(app: Guarded) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(app, Origin=app.address):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
def test_a_page_of_another_site_is_refused(app: Guarded, headers: dict[str, str]) -> None:
    with (
        app.logged_in() as client,
        pytest.raises(InvalidStatus) as refused,
        opened(app, client.cookies, **headers),
    ):
        pass
    assert refused.value.response.status_code == 403
    assert app.last("request")["reason"] == "asked by another site's page"


def test_a_program_comes_in_by_its_token(app: Guarded) -> None:
    with opened(app, Authorization=f"Bearer {TOKEN}") as socket:
        assert json.loads(socket.recv(timeout=10))["name"] == "ci"


def test_a_logout_closes_the_sockets_of_that_session_and_no_other(app: Guarded) -> None:
    with (
        app.logged_in() as client,
        app.logged_in() as other,
        opened(app, client.cookies, Origin=app.address) as one,
        opened(app, client.cookies, Origin=app.address) as two,
        opened(app, other.cookies, Origin=app.address) as stays,
    ):
        client.post("/logout", data={"token": form_field(client.get("/logout"), "token")})
        assert code_at_the_end(one) == CLOSED_BY_US
        assert code_at_the_end(two) == CLOSED_BY_US
        stays.send("still here")
        while json.loads(stays.recv(timeout=10)) != {"echo": "still here"}:
            pass


@pytest.mark.parametrize("change", [{}, {"bob": user("viewer")}], ids=["removed", "another role"])
def test_who_is_no_longer_what_they_were_loses_their_socket(
    app: Guarded, folder: Path, change: dict[str, object]
) -> None:
    with app.logged_in("bob") as client, opened(app, client.cookies, Origin=app.address) as socket:
        assert json.loads(socket.recv(timeout=10))["name"] == "bob"
        (folder / "access.yaml").write_text(render(access_file(**change)))  # type: ignore[arg-type]
        assert code_at_the_end(socket) == CLOSED_BY_US


def test_a_revoked_token_loses_its_socket(app: Guarded, folder: Path) -> None:
    with opened(app, Authorization=f"Bearer {TOKEN}") as socket:
        assert json.loads(socket.recv(timeout=10))["name"] == "ci"
        (folder / "access.yaml").write_text(render(access_file()))
        assert code_at_the_end(socket) == CLOSED_BY_US


def test_a_logout_in_one_copy_closes_the_sockets_in_the_other(folder: Path) -> None:
    environ = settings_in(folder, access_file())
    with (
        running(environ, folder) as one,
        running(environ, folder) as other,
        one.logged_in() as client,
        opened(other, client.cookies, Origin=other.address) as socket,
    ):
        socket.recv(timeout=10)
        client.post("/logout", data={"token": form_field(client.get("/logout"), "token")})
        assert code_at_the_end(socket) == CLOSED_BY_US
