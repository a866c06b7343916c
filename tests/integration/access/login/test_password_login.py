"""People who log in by name and password: in, out, and what is refused on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.guarded_app import (
    BROWSER,
    PASSWORD,
    Guarded,
    access_file,
    form_field,
    running,
    settings_in,
    sign_in,
    user,
)


@pytest.fixture(scope="module")
def app(module_folder: Path) -> Iterator[Guarded]:
    people = access_file(bob=user("operator", ("shop", "bank"), confined=True))
    with running(settings_in(module_folder, people), module_folder) as guarded:
        yield guarded


def test_who_logs_in_is_known_to_the_application(app: Guarded) -> None:
    with app.logged_in() as client:
        assert client.get("/whoami").json() | {"client": "-"} == {
            "name": "ada", "role": "administrator", "tenants": None, "confined": False, "client": "-", "scheme": "http",
        }  # fmt: skip


def test_a_confined_operator_is_one(app: Guarded) -> None:
    with app.logged_in("bob") as client:
        answer = client.get("/whoami").json()

    assert (answer["role"], answer["tenants"], answer["confined"]) == ("operator", ["bank", "shop"], True)


def test_the_name_is_found_whatever_its_case_and_the_spaces_around_it(app: Guarded) -> None:
    with app.client() as client:
        assert sign_in(client, " Ada ", PASSWORD).status_code == 303


def test_a_login_leads_to_where_one_wanted_to_go(app: Guarded) -> None:
    with app.client() as client:
        away = client.get("/runs/7?tab=logs", headers=BROWSER)
        assert away.status_code == 303
        page = client.get(away.headers["location"])
        sent = {
            "token": form_field(page, "token"), "next": form_field(page, "next"), "name": "ada", "password": PASSWORD,
        }  # fmt: skip
        answer = client.post("/login", data=sent, headers={"Origin": app.address})

    assert answer.headers["location"] == "/runs/7?tab=logs"


def test_who_is_logged_in_does_not_see_the_login_page_again(app: Guarded) -> None:
    with app.logged_in() as client:
        answer = client.get("/login?next=/assets")

    assert (answer.status_code, answer.headers["location"]) == (303, "/assets")


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "nine wet otters sin"), ("ada", ""), ("nobody", PASSWORD), ("", PASSWORD), ("ada", PASSWORD + "x" * 3000)],
    ids=["wrong", "empty", "unknown name", "no name", "endless"],
)
def test_a_wrong_login_is_refused_with_one_and_the_same_sentence(app: Guarded, name: str, password: str) -> None:
    with app.client() as client:
        answer = sign_in(client, name, password)
        assert answer.status_code == 401
        assert 'role="alert" id="error">The name or the password is not right.<' in answer.text
        assert "apollo_session" not in answer.headers.get("set-cookie", "")
        assert client.get("/whoami").status_code == 401


def test_the_session_cookie_is_not_for_scripts_and_not_for_other_sites(app: Guarded) -> None:
    with app.client() as client:
        cookies = sign_in(client, "ada", PASSWORD).headers.get_list("set-cookie")

    session = next(cookie for cookie in cookies if cookie.startswith("apollo_session="))
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(session.split("; "))
    assert "secure" not in session.casefold(), "a browser does not send a secure cookie over http"


def test_over_https_the_cookies_are_secure_and_bound_to_the_host(folder: Path) -> None:
    environ = settings_in(folder, access_file(), APOLLO_PUBLIC_URL="https://data.example.com")
    with running(environ, folder) as app, app.client() as client:
        page = client.get("/login")
        cookie = page.headers["set-cookie"].partition(";")[0]
        sent = {"token": form_field(page, "token"), "name": "ada", "password": PASSWORD}
        answer = client.post("/login", data=sent, headers={"Origin": "https://data.example.com", "Cookie": cookie})
        cookies = answer.headers.get_list("set-cookie")
        assert answer.status_code == 303
        assert cookies
        for cookie in cookies:
            assert cookie.startswith("__Host-apollo_")
            assert "; Secure" in cookie
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


class TestLogout:
    def test_it_ends_the_session_on_the_server_also_for_a_copied_cookie(self, app: Guarded) -> None:
        with app.logged_in() as client:
            copied = dict(client.cookies)
            page = client.get("/logout")
            answer = client.post("/logout", data={"token": form_field(page, "token")})
            assert (answer.status_code, answer.headers["location"]) == (303, "/login?out")
            assert "apollo_session" not in client.cookies
        with app.client() as thief:
            assert thief.get("/whoami", cookies=copied).status_code == 401
        assert app.last("logout") | {"at": "-"} == {
            "audit": "logout", "at": "-", "outcome": "ok", "user": "ada", "role": "administrator",
            "address": "127.0.0.1", "how": "password",
        }  # fmt: skip

    def test_the_page_says_who_one_is_and_opening_it_logs_nobody_out(self, app: Guarded) -> None:
        with app.logged_in("bob") as client:
            page = client.get("/logout")
            assert "<strong>bob</strong>, operator of bank, shop" in page.text
            assert client.get("/whoami").status_code == 200

    @pytest.mark.parametrize("token", ["", "forged"])
    def test_without_its_form_nobody_is_logged_out(self, app: Guarded, token: str) -> None:
        with app.logged_in() as client:
            assert client.post("/logout", data={"token": token}).status_code == 403
            assert client.get("/whoami").status_code == 200

    def test_the_form_of_another_session_does_not_log_out(self, app: Guarded) -> None:
        with app.logged_in() as one, app.logged_in() as other:
            token = form_field(one.get("/logout"), "token")
            assert other.post("/logout", data={"token": token}).status_code == 403
            assert other.get("/whoami").status_code == 200

    def test_it_has_the_browser_forget_what_dagsters_page_kept(self, app: Guarded) -> None:
        with app.logged_in() as client:
            answer = client.post("/logout", data={"token": form_field(client.get("/logout"), "token")})
        assert answer.headers["clear-site-data"] == '"storage"'

    def test_a_stranger_is_led_to_the_login_page(self, app: Guarded) -> None:
        with app.client(Origin=app.address) as client:
            assert client.get("/logout").headers["location"] == "/login"
            assert client.post("/logout").status_code == 303


def test_another_person_in_the_same_browser_finds_nothing_of_the_first(app: Guarded) -> None:
    with app.logged_in("ada") as client:
        first_cookies = dict(client.cookies)
        client.cookies.delete("apollo_session")
        answer = sign_in(client, "bob", PASSWORD)
        assert answer.headers["clear-site-data"] == '"storage"'
    assert "apollo_browser" in first_cookies


def test_a_login_over_a_login_ends_the_first_session(app: Guarded) -> None:
    with app.logged_in() as client:
        before = dict(client.cookies)
        page = httpx.get(f"{app.address}/login", trust_env=False)
        form = page.headers["set-cookie"].partition(";")[0].partition("=")[2]
        client.cookies.set("apollo_form", form)
        sent = {"token": form_field(page, "token"), "name": "bob", "password": PASSWORD}
        jar = {**before, "apollo_form": form}
        with app.client(Origin=app.address) as again:
            assert again.post("/login", data=sent, cookies=jar).status_code == 303
        with app.client() as thief:
            assert thief.get("/whoami", cookies=before).status_code == 401


class TestTheForm:
    def test_it_is_refused_without_its_token(self, app: Guarded) -> None:
        with app.client(Origin=app.address) as client:
            client.get("/login")
            answer = client.post("/login", data={"name": "ada", "password": PASSWORD})
        assert answer.status_code == 400
        assert "Try again" in answer.text

    def test_it_is_refused_with_the_token_of_another_browser(self, app: Guarded) -> None:
        with app.client() as one, app.client(Origin=app.address) as other:
            other.get("/login")
            sent = {"token": form_field(one.get("/login"), "token"), "name": "ada", "password": PASSWORD}
            assert other.post("/login", data=sent).status_code == 400

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {},
        ],
        ids=str,
    )
    def test_it_is_refused_from_another_sites_page(self, app: Guarded, headers: dict[str, str]) -> None:
        with app.client() as client:
            page = client.get("/login")
            sent = {"token": form_field(page, "token"), "name": "ada", "password": PASSWORD}
            assert client.post("/login", data=sent, headers=headers).status_code == 403

    def test_a_form_of_a_megabyte_is_not_read_to_its_end(self, app: Guarded) -> None:
        with app.client(Origin=app.address) as client:
            assert client.post("/login", content=b"name=" + b"x" * 1_000_000).status_code == 413

    @pytest.mark.parametrize("body", [b"\xff\xfe", b"&" * 5000, b"a=1&" * 500, b""])
    def test_what_is_no_form_is_refused(self, app: Guarded, body: bytes) -> None:
        with app.client(Origin=app.address) as client:
            assert client.post("/login", content=body).status_code == 400

    def test_a_name_is_shown_again_as_text(self, app: Guarded) -> None:
        with app.client() as client:
            answer = sign_in(client, '"><script>alert(1)</script>', "x")
        assert "<script>" not in answer.text
        assert "&lt;script&gt;" in answer.text


class TestTheAudit:
    def test_a_login_is_written_down(self, app: Guarded) -> None:
        with app.logged_in():
            pass

        assert app.last("login") | {"at": "-"} == {
            "audit": "login", "at": "-", "outcome": "ok", "user": "ada", "role": "administrator",
            "address": "127.0.0.1", "how": "password",
        }  # fmt: skip

    def test_a_wrong_password_is_written_down_with_the_name_of_whoever_has_one(self, app: Guarded) -> None:
        with app.client() as client:
            sign_in(client, "ada", "not that one")

        line = app.last("login")
        assert (line["outcome"], line["reason"], line["name"]) == ("refused", "wrong password", "ada")

    def test_a_password_that_was_typed_as_a_name_is_not(self, app: Guarded) -> None:
        with app.client() as client:
            sign_in(client, PASSWORD, "ada")

        line = app.last("login")
        assert (line["outcome"], line["reason"]) == ("refused", "unknown name")
        assert "name" not in line

    def test_no_line_holds_a_password_or_a_cookie(self, app: Guarded) -> None:
        with app.logged_in() as client:
            written = json.dumps(app.audit)
            assert PASSWORD not in written
            assert all(value not in written for value in client.cookies.values())
