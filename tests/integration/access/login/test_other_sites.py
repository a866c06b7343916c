"""Nothing is done that another site's page has a browser ask; and what browsers are told about our own pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guarded_app import BROWSER, Guarded, access_file, form_field, running, settings_in, token

TOKEN, ENTRY = token()


@pytest.fixture(scope="module")
def app(module_folder: Path) -> Iterator[Guarded]:
    with running(settings_in(module_folder, access_file(ci=ENTRY)), module_folder) as guarded:
        yield guarded


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": ""}, 200),
        ({"Origin": "OWN"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind-a-proxy.example"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "OWN"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "OWN"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://[broken"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "UNSET"}, 403),
    ],
    ids=str,
)
def test_a_change_is_done_for_our_own_pages_alone(
    app: Guarded, method: str, headers: dict[str, str], status: int
) -> None:
    sent = {name: app.address if value == "OWN" else value for name, value in headers.items()}
    with app.logged_in() as client:
        del client.headers["Origin"]
        if sent.get("Origin") == "UNSET":
            sent.pop("Origin")
        assert client.request(method, "/whoami", headers=sent).status_code == status


def test_what_is_refused_is_written_down_with_who_would_have_done_it(app: Guarded) -> None:
    with app.logged_in() as client:
        client.post("/whoami", headers={"Origin": "https://evil.example"})

    line = app.last("request")
    assert (line["user"], line["outcome"], line["path"]) == ("ada", "refused", "/whoami")


def test_a_query_by_get_counts_as_a_change_since_a_mutation_may_be_one(app: Guarded) -> None:
    with app.logged_in() as client:
        mutation = {"query": "mutation { x }"}
        assert client.get("/graphql", params=mutation, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get("/graphql", params=mutation, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
        assert client.get("/graphql", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_a_link_from_elsewhere_opens_a_page(app: Guarded) -> None:
    with app.logged_in() as client:
        assert client.get("/assets", headers={**BROWSER, "Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "javascript:alert(1)", "evil", "", "/login", "/login?next=/x", "/logout", "/x\r\nSet-Cookie: a=b",
        "/" + "x" * 3000, "/\u2028", "///evil.example", "/login/oidc",
    ],
)  # fmt: skip
def test_a_login_never_leads_anywhere_else(app: Guarded, target: str) -> None:
    with app.client(Origin=app.address) as client:
        page = client.get("/login", params={"next": target})
        assert form_field(page, "next") == "/"
        sent = {"token": form_field(page, "token"), "next": target, "name": "ada", "password": "nine wet otters sing"}
        answer = client.post("/login", data=sent)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    "target", ["/", "/assets/a/b?view=lineage&x=1", "/runs?q[0]=status:FAILURE", "/logs", "/loginx"]
)
def test_it_leads_to_paths_of_ours(app: Guarded, target: str) -> None:
    with app.client() as client:
        assert form_field(client.get("/login", params={"next": target}), "next") == target


class TestHeaders:
    def test_our_page_allows_one_stylesheet_and_a_form_and_nothing_else(self, app: Guarded) -> None:
        with app.client() as client:
            answer = client.get("/login")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "<script" not in answer.text
        assert " style=" not in answer.text
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize("path", ["/login", "/login/style.css", "/livez", "/whoami", "/assets"])
    def test_every_answer_says_what_a_browser_may_not_do(self, app: Guarded, path: str) -> None:
        with app.logged_in() as client:
            headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors" in headers["content-security-policy"]
        assert headers["x-frame-options"] in ("DENY", "SAMEORIGIN")
        assert headers["referrer-policy"] == "same-origin"
        assert "strict-transport-security" not in headers, "a browser ignores it over http, and may be told wrong"

    def test_dagsters_own_policy_is_kept(self, app: Guarded) -> None:
        with app.logged_in() as client:
            policy = client.get("/assets").headers["content-security-policy"]
        assert policy == "script-src 'nonce-abc'; style-src 'unsafe-inline' 'self'; frame-ancestors 'self'"

    def test_what_is_behind_the_login_is_in_no_shared_cache(self, app: Guarded) -> None:
        with app.client(Authorization=f"Bearer {TOKEN}") as client:
            assert client.get("/whoami").headers["cache-control"] == "private"

    def test_the_stylesheet_may_be_kept_since_its_address_changes_with_it(self, app: Guarded) -> None:
        with app.client() as client:
            url = client.get("/login").text.partition('rel="stylesheet" href="')[2].partition('"')[0]
            answer = client.get(url)
        assert url.startswith("/login/style.css?v=")
        assert answer.headers["content-type"].startswith("text/css")
        assert "immutable" in answer.headers["cache-control"]


class TestTheStrip:
    """Who is logged in, and the way out, over Dagster's own page."""

    def test_it_says_who_and_logs_out(self, app: Guarded) -> None:
        with app.logged_in() as client:
            page = client.get("/assets", headers=BROWSER)
            assert '<span class="apollo-who">Signed in as ada, administrator</span>' in page.text
            assert int(page.headers["content-length"]) == len(page.content)
            assert client.post("/logout", data={"token": form_field(page, "token")}).status_code == 303
            assert client.get("/whoami").status_code == 401

    def test_it_needs_nothing_that_dagsters_policy_forbids(self, app: Guarded) -> None:
        with app.logged_in() as client:
            page = client.get("/", headers=BROWSER).text
        strip = page.partition("<div id=root></div>")[2]
        assert "<script" not in strip
        assert "style=" not in strip
        assert page.endswith("</body></html>")

    @pytest.mark.parametrize("path", ["/whoami", "/download", "/livez"])
    def test_it_is_laid_over_nothing_else(self, app: Guarded, path: str) -> None:
        with app.logged_in() as client:
            assert "apollo-strip" not in client.get(path, headers=BROWSER).text

    def test_a_head_of_the_page_is_left_alone(self, app: Guarded) -> None:
        with app.logged_in() as client:
            assert client.head("/assets", headers=BROWSER).status_code == 200
