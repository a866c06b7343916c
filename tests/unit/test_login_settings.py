"""A webserver that others reach does not start without a login, and says everything that is missing at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.access.identity.access_file import wrapped
from dagster_apollo.access.identity.login import Login
from dagster_apollo.errors import SettingsError
from dagster_apollo.fork import Fork, parse_fork
from tests.support.guarded_app import SECRET, access_file, settings_in

OIDC = {"OIDC_ISSUER": "https://accounts.google.com", "OIDC_CLIENT_ID": "id", "OIDC_CLIENT_SECRET": "canary-of-oidc"}
PUBLIC = {"APOLLO_PUBLIC_URL": "https://data.example.com"}
WITH_RULES = parse_fork({"login": {"domains": {"example.com": {}}}})


def configured(environ: dict[str, str], tmp_path: Path, fork: Fork = WITH_RULES, *marks: Path) -> Login:
    return Login.configured({"DAGSTER_HOME": str(tmp_path), **environ}, fork, tmp_path, container_marks=marks)


def refused(environ: dict[str, str], tmp_path: Path, fork: Fork = WITH_RULES, *marks: Path) -> dict[str, str]:
    with pytest.raises(SettingsError) as error:
        configured(environ, tmp_path, fork, *marks)
    return {problem.where: f"{problem.what} {problem.remedy}" for problem in error.value.problems}


def test_on_loopback_with_nothing_set_there_is_no_login(tmp_path: Path) -> None:
    assert configured({}, tmp_path).is_open


@pytest.mark.parametrize("bind", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_no_login_is_for_loopback(bind: str) -> None:
    assert Login.none(bind).is_open


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.0.0.1", "", "data.example.com", "localhost.example.com"])
def test_no_login_is_refused_elsewhere(bind: str) -> None:
    with pytest.raises(SettingsError, match="APOLLO_BIND"):
        Login.none(bind)


def test_another_address_needs_a_way_in_and_a_secret_and_both_are_named(tmp_path: Path) -> None:
    found = refused({"APOLLO_BIND": "0.0.0.0"}, tmp_path)

    assert set(found) == {"APOLLO_ACCESS", "APOLLO_SESSION_SECRET"}
    assert "does not start on 0.0.0.0" in found["APOLLO_ACCESS"]
    for name in ("APOLLO_ACCESS_PATH", "OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "APOLLO_PUBLIC_URL"):
        assert name in found["APOLLO_ACCESS"]


@pytest.mark.parametrize("environ", [{"APOLLO_CONTAINER": "true"}, {"RENDER": "true"}], ids=str)
def test_in_a_container_loopback_is_no_excuse(tmp_path: Path, environ: dict[str, str]) -> None:
    assert "in a container" in refused(environ, tmp_path)["APOLLO_ACCESS"]


def test_a_container_is_also_known_by_the_mark_of_its_engine(tmp_path: Path) -> None:
    mark = tmp_path / ".dockerenv"
    mark.touch()

    assert "in a container" in refused({}, tmp_path, WITH_RULES, tmp_path / "none", mark)["APOLLO_ACCESS"]


def test_the_access_file_is_a_way_in(tmp_path: Path) -> None:
    for environ in (
        settings_in(tmp_path, access_file(), APOLLO_BIND="0.0.0.0"),
        {"APOLLO_SESSION_SECRET": SECRET, "APOLLO_ACCESS": wrapped(access_file()), "APOLLO_CONTAINER": "true"},
    ):
        assert not configured(environ, tmp_path).is_open


def test_oidc_is_a_way_in(tmp_path: Path) -> None:
    login = configured({**OIDC, **PUBLIC, "APOLLO_SESSION_SECRET": SECRET, "APOLLO_BIND": "0.0.0.0"}, tmp_path)

    assert {"/login/oidc", "/login/oidc/callback"} <= {route.path for route in login.routes()}


def test_a_file_of_tokens_alone_lets_nobody_log_in(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text("tokens: {}\n")

    found = refused({"APOLLO_SESSION_SECRET": SECRET, "APOLLO_BIND": "0.0.0.0"}, tmp_path)
    assert "nobody could log in" in found["APOLLO_ACCESS"]


def test_a_login_that_is_begun_is_finished_also_on_loopback(tmp_path: Path) -> None:
    assert set(refused({"APOLLO_SESSION_SECRET": SECRET}, tmp_path)) == {"APOLLO_ACCESS"}
    assert set(refused({"APOLLO_ACCESS": wrapped(access_file())}, tmp_path)) == {"APOLLO_SESSION_SECRET"}


@pytest.mark.parametrize("name", OIDC)
def test_what_is_missing_of_oidc_is_named(tmp_path: Path, name: str) -> None:
    environ = {**OIDC, **PUBLIC, "APOLLO_SESSION_SECRET": SECRET}
    del environ[name]

    assert set(refused(environ, tmp_path)) == {name}


def test_oidc_needs_the_public_address_and_a_rule(tmp_path: Path) -> None:
    found = refused({**OIDC, "APOLLO_SESSION_SECRET": SECRET}, tmp_path, Fork())

    assert set(found) == {"APOLLO_PUBLIC_URL", "apollo.toml"}


@pytest.mark.parametrize(
    ("fork", "environ"),
    [
        ({"domain": "data.example.com"}, {}),
        ({}, {"RENDER_EXTERNAL_URL": "https://apollo-x.onrender.com", "RENDER": "true"}),
    ],
    ids=["apollo.toml", "Render"],
)
def test_the_public_address_may_be_known_already(tmp_path: Path, fork: dict[str, str], environ: dict[str, str]) -> None:
    rules = {"login": {"domains": {"example.com": {}}}}
    login = configured({**OIDC, "APOLLO_SESSION_SECRET": SECRET, **environ}, tmp_path, parse_fork({**fork, **rules}))

    assert not login.is_open


@pytest.mark.parametrize(
    "url", ["data.example.com", "ftp://data.example.com", "https://", "https://x.example/dagster", "https://[x", "x"]
)
def test_a_public_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    found = refused({**OIDC, "APOLLO_SESSION_SECRET": SECRET, "APOLLO_PUBLIC_URL": url}, tmp_path)

    assert set(found) == {"APOLLO_PUBLIC_URL"}


@pytest.mark.parametrize(
    "issuer",
    [
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/organizations/v2.0",
        "https://login.microsoftonline.com/consumers/v2.0",
        "https://login.microsoftonline.com/",
        "http://idp.example.com",
        "idp.example.com",
    ],
)
def test_an_issuer_that_vouches_for_nobody_is_refused(tmp_path: Path, issuer: str) -> None:
    environ = {**OIDC, **PUBLIC, "APOLLO_SESSION_SECRET": SECRET, "OIDC_ISSUER": issuer}

    assert set(refused(environ, tmp_path)) == {"OIDC_ISSUER"}


@pytest.mark.parametrize("secret", ["short", "x" * 31, "ab" * 40])
def test_a_weak_session_secret_is_refused_and_not_shown(tmp_path: Path, secret: str) -> None:
    environ = {**settings_in(tmp_path, access_file()), "APOLLO_SESSION_SECRET": secret}

    found = refused(environ, tmp_path)
    assert set(found) == {"APOLLO_SESSION_SECRET"}
    assert secret not in found["APOLLO_SESSION_SECRET"]


def test_both_forms_of_the_access_file_are_one_too_many(tmp_path: Path) -> None:
    environ = settings_in(tmp_path, access_file(), APOLLO_ACCESS=wrapped(access_file()))

    assert set(refused(environ, tmp_path)) == {"APOLLO_ACCESS, APOLLO_ACCESS_PATH"}


def test_an_access_file_that_is_not_right_is_told_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").write_text("users: {ada: {password_hash: canary}}")

    found = refused({"APOLLO_BIND": "0.0.0.0"}, tmp_path)
    assert any("users.ada" in where for where in found)
    assert "APOLLO_SESSION_SECRET" in found
    assert "canary" not in str(found)


def test_proxies_are_addresses(tmp_path: Path) -> None:
    environ = settings_in(tmp_path, access_file(), APOLLO_TRUSTED_PROXIES="10.0.0.0/8, caddy")

    assert "'caddy' is neither" in refused(environ, tmp_path)["APOLLO_TRUSTED_PROXIES"]


def test_without_https_there_is_a_warning(tmp_path: Path) -> None:
    warned = configured(settings_in(tmp_path, access_file(), APOLLO_BIND="0.0.0.0"), tmp_path)
    well = configured(settings_in(tmp_path, access_file(), APOLLO_BIND="0.0.0.0", **PUBLIC), tmp_path)

    assert [problem.severity for problem in warned.notes] == ["warning"]
    assert well.notes == []
