"""Guessing is slowed, by address and by name, and nobody can be locked out by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dagster_apollo.access.identity.sign_in import ALLOWANCES
from tests.support.guarded_app import PASSWORD, Guarded, access_file, running, settings_in, sign_in, user

AT_ONCE = ALLOWANCES["address"].at_once


@pytest.fixture
def app(folder: Path) -> Iterator[Guarded]:
    """Behind a proxy that is trusted, so that a test may come from any address."""
    environ = settings_in(folder, access_file(bob=user()), APOLLO_TRUSTED_PROXIES="127.0.0.1")
    with running(environ, folder) as guarded:
        yield guarded


def attempt(app: Guarded, address: str, name: str = "ada", password: str = "wrong") -> httpx.Response:
    """One attempt, by a browser that was never here."""
    with app.client(**{"X-Forwarded-For": address}) as client:
        return sign_in(client, name, password)


def use_up(app: Guarded, address: str) -> None:
    for _ in range(AT_ONCE):
        assert attempt(app, address).status_code == 401


def test_an_address_that_guesses_has_to_wait_even_with_the_right_password(app: Guarded) -> None:
    use_up(app, "203.0.113.1")

    answer = attempt(app, "203.0.113.1", password=PASSWORD)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= ALLOWANCES["address"].then_every_seconds
    assert "Too many attempts that failed" in answer.text
    assert app.last("login")["reason"] == "too many attempts"


def test_another_address_is_not_slowed_by_it(app: Guarded) -> None:
    use_up(app, "203.0.113.1")

    assert attempt(app, "203.0.113.2", password=PASSWORD).status_code == 303


def test_an_ipv6_neighbour_is_the_same_address(app: Guarded) -> None:
    for number in range(AT_ONCE):
        attempt(app, f"2001:db8:0:1::{number + 1:x}")

    assert attempt(app, "2001:db8:0:1:ffff::1").status_code == 429
    assert attempt(app, "2001:db8:0:2::1").status_code == 401


def test_who_logs_in_again_and_again_is_not_slowed(app: Guarded) -> None:
    for _ in range(AT_ONCE + 5):
        assert attempt(app, "203.0.113.1", password=PASSWORD).status_code == 303


def test_a_name_that_many_addresses_guess_at_is_slowed_and_others_are_not(app: Guarded) -> None:
    statuses = [attempt(app, f"198.51.100.{number % 250}").status_code for number in range(40)]

    assert statuses == [401] * ALLOWANCES["name"].at_once + [429] * (40 - ALLOWANCES["name"].at_once)
    assert attempt(app, "198.51.100.9", "bob", PASSWORD).status_code == 303


def test_a_browser_that_was_let_in_before_is_let_in_while_its_name_is_guessed_at(app: Guarded) -> None:
    with app.client(**{"X-Forwarded-For": "203.0.113.9"}) as known:
        assert sign_in(known, "ada", PASSWORD).status_code == 303
        known.cookies.delete("apollo_session")
        for number in range(40):
            attempt(app, f"198.51.100.{number}")
        assert attempt(app, "198.51.100.200", password=PASSWORD).status_code == 429
        assert sign_in(known, "ada", PASSWORD).status_code == 303


def test_a_known_browser_may_not_guess_for_ever_either_nor_at_another_name(app: Guarded) -> None:
    with app.client(**{"X-Forwarded-For": "203.0.113.9"}) as known:
        assert sign_in(known, "ada", PASSWORD).status_code == 303
        known.cookies.delete("apollo_session")
        statuses = [sign_in(known, "ada", "wrong").status_code for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        use_up(app, "203.0.113.9")
        assert sign_in(known, "bob", PASSWORD).status_code == 429


def test_without_a_trusted_proxy_an_address_cannot_be_made_up(folder: Path) -> None:
    with running(settings_in(folder, access_file()), folder) as app:
        use_up(app, "203.0.113.1")
        assert attempt(app, "203.0.113.2").status_code == 429
        assert app.last("login")["address"] == "127.0.0.1"


def test_on_render_the_address_is_the_one_that_cloudflare_saw(folder: Path) -> None:
    environ = settings_in(folder, access_file(), RENDER="true", APOLLO_TRUSTED_PROXIES="127.0.0.1")
    with running(environ, folder) as app, app.client(Origin=app.address) as client:
        headers = {"CF-Connecting-IP": "203.0.113.7", "X-Forwarded-For": "198.51.100.1, 203.0.113.7, 172.64.0.1"}
        sign_in(client, "ada", "wrong", **headers)
    assert app.last("login")["address"] == "203.0.113.7"
