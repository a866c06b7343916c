"""How long a login holds: over restarts and in a second copy, but not beyond what the access file says now."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from dagster_apollo.access.identity.access_file import AccessFile, UserEntry, render
from dagster_apollo.access.identity.ended_sessions import EndedSessions, StoreUnavailableError
from dagster_apollo.access.identity.passwords import hash_password
from dagster_apollo.access.identity.sessions import IDLE_SECONDS, LIFETIME_SECONDS
from tests.support.guarded_app import (
    PASSWORD,
    SECRET,
    Guarded,
    access_file,
    form_field,
    running,
    settings_in,
    sign_in,
    user,
)
from tests.support.postgres import Postgres
from tests.support.silent_proxy import silent_proxy
from tests.support.webserver import wait_until


@contextmanager
def with_cookies(app: Guarded, cookies: dict[str, str]) -> Iterator[httpx.Client]:
    with app.client(Origin=app.address, Cookie="; ".join(f"{name}={value}" for name, value in cookies.items())) as it:
        yield it


def leave(client: httpx.Client) -> httpx.Response:
    return client.post("/logout", data={"token": form_field(client.get("/logout"), "token")})


def test_a_session_survives_a_restart(folder: Path) -> None:
    environ = settings_in(folder, access_file())
    with running(environ, folder) as app, app.logged_in() as client:
        cookies = dict(client.cookies)

    with running(environ, folder) as app, with_cookies(app, cookies) as again:
        assert again.get("/whoami").json()["name"] == "ada"


def test_a_logout_survives_a_restart(folder: Path) -> None:
    environ = settings_in(folder, access_file())
    with running(environ, folder) as app, app.logged_in() as client:
        cookies = dict(client.cookies)
        leave(client)

    with running(environ, folder) as app, with_cookies(app, cookies) as thief:
        assert thief.get("/whoami").status_code == 401


def test_another_secret_ends_every_session(folder: Path) -> None:
    environ = settings_in(folder, access_file())
    with running(environ, folder) as app, app.logged_in() as client:
        cookies = dict(client.cookies)

    with running({**environ, "APOLLO_SESSION_SECRET": SECRET[::-1]}, folder) as app, with_cookies(app, cookies) as it:
        assert it.get("/whoami").status_code == 401


def test_two_copies_on_one_postgres_know_each_others_sessions_and_logouts(folder: Path, postgres: Postgres) -> None:
    environ = settings_in(folder, access_file(), DAGSTER_PG_URI=postgres.url())
    with (
        running(environ, folder) as old,
        running(environ, folder) as new,
        old.logged_in() as client,
        with_cookies(new, dict(client.cookies)) as there,
    ):
        assert there.get("/whoami").status_code == 200
        leave(client)
        wait_until(lambda: there.get("/whoami").status_code == 401, "the other copy knows of the logout", 20)
    assert postgres.rows("select count(*) from apollo_ended_sessions") == [(1,)]


def test_without_the_database_nobody_passes_as_logged_in(folder: Path) -> None:
    environ = settings_in(folder, access_file())
    with running(environ, folder) as app, app.logged_in() as client:
        cookies = dict(client.cookies)

    gone = {**environ, "DAGSTER_PG_URI": "postgresql://nobody:nothing@127.0.0.1:9/none"}
    with running(gone, folder) as app, with_cookies(app, cookies) as it:
        answer = it.get("/whoami")
        assert answer.status_code == 503
        assert "database does not answer" in answer.text
        assert "nothing" not in answer.text
        assert it.get("/login").status_code == 200
        assert it.get("/livez").status_code == 200


def test_a_database_that_falls_silent_is_answered_for_and_used_again_once_it_is_back(
    folder: Path, postgres: Postgres
) -> None:
    with silent_proxy(postgres.port) as proxy:
        environ = settings_in(folder, access_file(), DAGSTER_PG_URI=replace(postgres, port=proxy.port).url())
        with running(environ, folder) as app, app.logged_in() as client:
            assert client.get("/whoami").status_code == 200
            proxy.fall_silent()
            # A look that was just taken holds for a moment. An answer that takes 30 seconds fails in the client.
            wait_until(lambda: client.get("/whoami").status_code == 503, "the silence is noticed", 60)
            with ThreadPoolExecutor(8) as many:
                answers = list(many.map(lambda _: client.get("/whoami"), range(8)))
            assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "5")] * 8
            assert app.client().get("/livez").status_code == 200

            proxy.forward()
            wait_until(lambda: client.get("/whoami").status_code == 200, "the database is used again", 60)


def test_a_logout_while_the_database_is_silent_is_not_waited_for_without_end(folder: Path, postgres: Postgres) -> None:
    with silent_proxy(postgres.port) as proxy:
        ended = EndedSessions(f"postgresql+psycopg2{replace(postgres, port=proxy.port).url()[len('postgresql') :]}")
        ended.refresh()
        proxy.fall_silent()
        with pytest.raises(StoreUnavailableError):
            ended.end("of-a-logout", time.time() + 60)
        assert "of-a-logout" in ended

        proxy.forward()
        ended.end("of-another", time.time() + 60)
        assert ("of-another",) in postgres.rows("select session_id from apollo_ended_sessions")
        ended.close()


class TestTheAccessFile:
    """What it says holds at the next request."""

    @pytest.fixture
    def app(self, folder: Path) -> Iterator[Guarded]:
        with running(settings_in(folder, access_file(bob=user("operator"))), folder) as guarded:
            yield guarded

    def write(self, folder: Path, content: AccessFile) -> None:
        (folder / "access.yaml").write_text(render(content))

    def test_who_is_removed_is_out(self, app: Guarded, folder: Path) -> None:
        with app.logged_in("bob") as client:
            self.write(folder, access_file())
            assert client.get("/whoami").status_code == 401

    def test_another_role_holds(self, app: Guarded, folder: Path) -> None:
        with app.logged_in("bob") as client:
            self.write(folder, access_file(bob=user("viewer", ("shop",), confined=True)))
            answer = client.get("/whoami").json()
        assert (answer["role"], answer["tenants"], answer["confined"]) == ("viewer", ["shop"], True)

    def test_another_password_ends_the_session(self, app: Guarded, folder: Path) -> None:
        with app.logged_in("bob") as client:
            other = UserEntry(password_hash=hash_password("quite another one"), role="operator")
            self.write(folder, access_file(bob=other))
            assert client.get("/whoami").status_code == 401
            assert sign_in(client, "bob", PASSWORD).status_code == 401
            assert sign_in(client, "bob", "quite another one").status_code == 303

    def test_who_is_added_comes_in(self, app: Guarded, folder: Path) -> None:
        self.write(folder, access_file(eve=user()))
        with app.logged_in("eve") as client:
            assert client.get("/whoami").json()["name"] == "eve"

    @pytest.mark.parametrize("text", ["users: [", "users: {bob: {role: emperor}}", "just words here"])
    def test_a_file_that_turns_wrong_changes_nothing(self, app: Guarded, folder: Path, text: str) -> None:
        with app.logged_in("bob") as client:
            (folder / "access.yaml").write_text(text)
            assert client.get("/whoami").json()["role"] == "operator"

    def test_a_file_that_is_gone_changes_nothing(self, app: Guarded, folder: Path) -> None:
        with app.logged_in("bob") as client:
            (folder / "access.yaml").unlink()
            assert client.get("/whoami").status_code == 200


class TestTime:
    """Idle and absolute ends, with the clock of the session set on."""

    @pytest.fixture
    def clock(self) -> list[float]:
        return [1_800_000_000.0]

    @pytest.fixture
    def app(self, folder: Path, clock: list[float]) -> Iterator[Guarded]:
        with running(settings_in(folder, access_file()), folder, clock=lambda: clock[0]) as guarded:
            yield guarded

    def test_an_unused_session_ends(self, app: Guarded, clock: list[float]) -> None:
        with app.logged_in() as client:
            clock[0] += IDLE_SECONDS - 1
            cookies = dict(client.cookies)
            assert client.get("/whoami").status_code == 200
            clock[0] += 2
            with with_cookies(app, cookies) as old_cookie:
                assert old_cookie.get("/whoami").status_code == 401

    def test_a_used_one_is_renewed(self, app: Guarded, clock: list[float]) -> None:
        with app.logged_in() as client:
            for _ in range(2):
                clock[0] += IDLE_SECONDS - 1
                assert client.get("/whoami").status_code == 200

    def test_but_not_beyond_its_lifetime(self, app: Guarded, clock: list[float]) -> None:
        with app.logged_in() as client:
            start = clock[0]
            while clock[0] + 3600 < start + LIFETIME_SECONDS:
                clock[0] += 3600
                assert client.get("/whoami").status_code == 200
            clock[0] = start + LIFETIME_SECONDS
            assert client.get("/whoami").status_code == 401

    def test_a_young_cookie_is_not_written_again(self, app: Guarded) -> None:
        with app.logged_in() as client:
            assert "set-cookie" not in client.get("/whoami").headers


@pytest.fixture(scope="module")
def shared(module_folder: Path) -> Iterator[Guarded]:
    with running(settings_in(module_folder, access_file()), module_folder) as guarded:
        yield guarded


class TestForgery:
    @pytest.mark.parametrize(
        "change", [lambda it: it[:-1], lambda it: "x" + it, lambda it: it.partition(".")[0], str.upper]
    )
    def test_a_changed_cookie_is_a_strangers(self, shared: Guarded, change: object) -> None:
        with shared.logged_in() as client:
            forged = change(client.cookies["apollo_session"])  # type: ignore[operator]
        with with_cookies(shared, {"apollo_session": forged}) as it:
            assert it.get("/whoami").status_code == 401

    @pytest.mark.parametrize("other", ["apollo_form", "apollo_browser"])
    def test_another_cookie_of_ours_is_no_session(self, shared: Guarded, other: str) -> None:
        with shared.logged_in() as client:
            value = client.cookies[other]
        with with_cookies(shared, {"apollo_session": value}) as it:
            assert it.get("/whoami").status_code == 401

    @pytest.mark.parametrize(
        "value", ["", "e30.x", "a" * 20_000, "\x00", "eyJpZCI6MX0.AAAA", "{}", "..", "null"], ids=range(8)
    )
    def test_what_is_no_cookie_is_a_strangers(self, shared: Guarded, value: str) -> None:
        with with_cookies(shared, {"apollo_session": value.replace("\x00", "%00")}) as it:
            assert it.get("/whoami").status_code == 401


def test_many_requests_at_once_are_all_answered(folder: Path) -> None:
    with running(settings_in(folder, access_file()), folder) as app, app.logged_in() as client:
        cookies = dict(client.cookies)
        found: list[int] = []

        def ask() -> None:
            with with_cookies(app, cookies) as it:
                found.extend(it.get("/whoami").status_code for _ in range(20))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [200] * 160
