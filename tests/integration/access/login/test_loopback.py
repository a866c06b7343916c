"""Without a login a laptop's webserver answers the laptop's own pages and programs, and no page on the internet."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dagster_apollo.access.identity.login import Login
from tests.support.guarded_app import served, small_app


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(small_app(Login.none())) as found:
        yield found


def test_a_program_of_this_machine_is_its_administrator(address: str) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(method, f"{address}/whoami", trust_env=False).json()
        assert (answer["name"], answer["role"]) == ("local", "administrator")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:3000", "[::1]:3000", "dagster.localhost:80", "127.1.2.3"])
def test_this_machines_names_are_answered(address: str, host: str) -> None:
    assert httpx.get(f"{address}/whoami", headers={"Host": host}, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "10.0.0.1",
        "[::1",
        "evillocalhost",
    ],
)
def test_a_name_that_resolves_to_this_machine_is_refused(address: str, host: str) -> None:
    for path in ("/whoami", "/", "/livez"):
        answer = httpx.get(f"{address}{path}", headers={"Host": host}, trust_env=False)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"},
    ],
    ids=str,
)
def test_a_page_of_another_site_changes_nothing(address: str, headers: dict[str, str]) -> None:
    assert httpx.post(f"{address}/whoami", headers=headers, trust_env=False).status_code == 403
    query = {"query": "mutation { x }"}
    assert httpx.get(f"{address}/graphql", params=query, headers=headers, trust_env=False).status_code == 403
    with pytest.raises(InvalidStatus):
        connect(address.replace("http", "ws", 1) + "/graphql", additional_headers=headers, proxy=None)


def test_our_own_page_and_a_program_have_a_websocket(address: str) -> None:
    for headers in ({"Origin": address}, {}):
        with connect(
            address.replace("http", "ws", 1) + "/graphql",
            additional_headers=headers,
            subprotocols=["graphql-ws"],  # type: ignore[list-item]
            proxy=None,
        ) as socket:
            assert '"name":"local"' in str(socket.recv(timeout=10)).replace(" ", "")
