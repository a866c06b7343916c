"""Programs come in by a token: no cookie, no form, a role and an end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dagster_apollo.access.identity.access_file import render
from tests.support.guarded_app import Guarded, access_file, running, settings_in, token

TOKEN, ENTRY = token("operator", tenants=("shop",), confined=True)
ENDED, ENDED_ENTRY = token(ends_in=timedelta(seconds=-1))


@pytest.fixture
def app(folder: Path) -> Iterator[Guarded]:
    with running(settings_in(folder, access_file(ci=ENTRY, old=ENDED_ENTRY)), folder) as guarded:
        yield guarded


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}".strip()}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_token_is_somebody_and_needs_no_origin(app: Guarded, method: str) -> None:
    with app.client() as client:
        answer = client.request(method, "/whoami", headers=bearer(TOKEN))

    told = answer.json()
    assert (told["name"], told["role"], told["tenants"], told["confined"]) == ("ci", "operator", ["shop"], True)
    assert "set-cookie" not in answer.headers


def test_the_word_bearer_is_known_in_any_case(app: Guarded) -> None:
    with app.client(Authorization=f"bearer {TOKEN}") as client:
        assert client.get("/whoami").status_code == 200


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENDED, "token old has expired"),
        ("apollo_unknown", "unknown token"),
        ("", "unknown token"),
        (TOKEN[:-1], "unknown token"),
        (ENTRY.sha256, "unknown token"),
        (TOKEN + " x", "unknown token"),
    ],
    ids=["ended", "unknown", "none", "cut", "the hash itself", "two words"],
)
def test_what_is_no_token_of_now_is_refused_and_written_down(app: Guarded, text: str, reason: str) -> None:
    with app.client(**bearer(text)) as client:
        answer = client.get("/whoami")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    line = app.last("token")
    assert (line["outcome"], line["reason"], line["path"]) == ("refused", reason, "/whoami")
    assert not text or text not in json.dumps(line)


def test_a_wrong_token_is_not_made_good_by_a_cookie(app: Guarded) -> None:
    with app.logged_in() as client:
        assert client.get("/whoami", headers=bearer("apollo_wrong")).status_code == 401


def test_a_token_goes_before_a_cookie(app: Guarded) -> None:
    with app.logged_in() as client:
        assert client.get("/whoami", headers=bearer(TOKEN)).json()["name"] == "ci"


def test_a_revoked_token_is_out_at_the_next_request(app: Guarded, folder: Path) -> None:
    with app.client(**bearer(TOKEN)) as client:
        assert client.get("/whoami").status_code == 200
        (folder / "access.yaml").write_text(render(access_file()))
        assert client.get("/whoami").status_code == 401


def test_a_token_does_not_open_the_login(app: Guarded) -> None:
    with app.client(**bearer(TOKEN), Origin=app.address) as client:
        assert client.get("/login").status_code == 200
        assert client.get("/logout").headers["location"] == "/login"


def test_another_kind_of_authorization_is_a_strangers(app: Guarded) -> None:
    with app.client(Authorization="Basic YWRhOm5pbmU=") as client:
        assert client.get("/whoami").status_code == 401
