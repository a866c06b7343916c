"""A process is given what it may know: a tenant its own variables, webserver and daemon none, dbt no secret of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.environment import for_dbt, for_nobody, for_tenant, from_process, without_settings_of_others
from dagster_apollo.settings import SETTINGS, Process, prefix, read

TENANTS = ["shop", "cellar", "shop_2"]
SHARED = {"PATH": "/usr/bin", "TZ": "UTC", "PAGER": "less"}


def everything() -> dict[str, str]:
    """Every setting, shared and of every tenant, each with a value that says whose it is."""
    environ = dict(SHARED)
    for setting in SETTINGS:
        environ[setting.name] = f"shared {setting.name}"
        for tenant in TENANTS:
            environ[f"{prefix(tenant)}{setting.name}"] = f"of {tenant}"
    return environ | {f"{prefix(tenant)}API_TOKEN": f"token of {tenant}" for tenant in TENANTS}


# ---- A tenant's process. ----


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenant_is_given_nothing_of_another(tenant: str) -> None:
    given = for_tenant(everything(), tenant)

    for other in set(TENANTS) - {tenant}:
        assert [name for name in given if name.startswith(prefix(other))] == []
        assert [name for name, value in given.items() if value in (f"of {other}", f"token of {other}")] == []


def test_a_tenant_is_given_its_own_under_both_names() -> None:
    given = for_tenant(everything(), "shop")

    assert given["SHOP__SNOWFLAKE_USER"] == given["SNOWFLAKE_USER"] == "of shop"
    assert given["SHOP__API_TOKEN"] == given["API_TOKEN"] == "token of shop"
    assert {name: given[name] for name in SHARED} == SHARED


def test_a_tenant_cannot_give_its_process_another_database_or_home() -> None:
    environ = {"DAGSTER_PG_URI": "ours", "SHOP__DAGSTER_PG_URI": "theirs", "SHOP__APOLLO_STATE_DIR": "theirs"}

    given = for_tenant(environ, "shop")

    assert given["DAGSTER_PG_URI"] == "ours"
    assert "APOLLO_STATE_DIR" not in given


def test_a_tenant_is_not_given_what_belongs_to_a_folder_that_is_gone() -> None:
    environ = {
        "GONE__SNOWFLAKE_PRIVATE_KEY_B64": "x",
        "GONE__DBT_THREADS": "2",
        "GONE__STRIPE": "x",
        "shop__STRIPE": "x",
        "X__SHOP__STRIPE": "x",
        "__CF_USER": "kept",
    }

    assert for_tenant(environ, "shop") == {"__CF_USER": "kept"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("github_token", "x"),
        ("dagster_pg_uri", "x"),
        ("STRIPE_KEY", "x"),
        ("OPENAI_APIKEY", "x"),
        ("SENTRY_DSN", "x"),
        ("DATABASE_URL", "postgres://u:p@host/db"),
        ("DBT_QUIET", "1"),
        ("DBT_EMPTY", "1"),
    ],
)
def test_dbt_is_not_given_a_shared_secret_nor_a_switch_that_would_silence_it(name: str, value: str) -> None:
    given = for_dbt({name: value, "REGION": "eu", "HOME_URL": "https://host/"}, "shop", {})

    assert given == {"REGION": "eu", "HOME_URL": "https://host/"}


def test_an_environment_may_be_derived_from_a_derived_one() -> None:
    once = for_tenant(everything(), "shop")

    assert for_tenant(once, "shop") == once
    assert for_tenant(once, "shop") == once


def test_a_tenant_reads_the_same_settings_from_its_own_environment_as_from_everybodys() -> None:
    environ = {
        "SNOWFLAKE_USER": "shared",
        "SNOWFLAKE_PRIVATE_KEY_B64": "shared key",
        "SHOP__SNOWFLAKE_ROLE": "own",
        "SHOP__SNOWFLAKE_PRIVATE_KEY_PEM": "own key",
        "CELLAR__SNOWFLAKE_USER": "theirs",
    }

    own = for_tenant(environ, "shop")

    assert dict(read(own, "shop")) == dict(read(environ, "shop"))
    assert read(own, "shop")["SNOWFLAKE_PRIVATE_KEY_B64"] is None


# ---- Webserver and daemon. ----


@pytest.mark.parametrize("process", ["webserver", "daemon"])
def test_webserver_and_daemon_are_given_no_tenants_variable_and_no_way_to_a_warehouse(process: Process) -> None:
    given = for_nobody({**everything(), "DBT_ENV_SECRET_GIT": "x", "GONE__SNOWFLAKE_USER": "x"}, process)

    theirs = {s.name for s in SETTINGS if process in s.used_by}
    assert set(given) == {*SHARED, *theirs} - {name for name in theirs if name.startswith(("SNOWFLAKE_", "DBT_"))}
    assert {"DAGSTER_HOME", "DAGSTER_PG_URI", "TENANTS"} <= set(given)
    assert not {"SNOWFLAKE_USER", "DBT_TARGET", "APOLLO_TOKEN"} & set(given)
    assert ("RENDER_API_KEY" in given) == (process == "daemon")
    assert given["DAGSTER_PG_URI"] == "shared DAGSTER_PG_URI"


def test_a_process_is_given_no_setting_that_only_others_read() -> None:
    given = without_settings_of_others({**everything(), "COLOUR": "blue"}, "code")

    assert not {"APOLLO_SESSION_SECRET", "APOLLO_ACCESS", "OIDC_CLIENT_SECRET", "RENDER_API_KEY"} & set(given)
    assert {"SNOWFLAKE_USER", "DAGSTER_PG_URI", "COLOUR"} <= set(given)


# ---- dbt. ----


def test_dbt_is_given_no_secret_of_ours() -> None:
    own = for_tenant(everything(), "shop")

    given = for_dbt(own, "shop", {})

    secrets = {setting.name for setting in SETTINGS if setting.secret}
    assert secrets.isdisjoint(given)
    assert not [name for name in given if name.startswith(("DAGSTER_", "SHOP__", "CELLAR__"))]
    assert not [value for name, value in given.items() if name in secrets or "PG_URI" in value]


def test_dbt_is_not_given_what_would_lead_it_elsewhere() -> None:
    leading = ("DBT_PROFILES_DIR", "DBT_PROJECT_DIR", "DBT_TARGET_PATH", "DBT_LOG_PATH", "DBT_TARGET", "DBT_PROFILE")

    given = for_dbt({**dict.fromkeys(leading, "/elsewhere"), "DBT_THREADS": "2"}, "shop", {})

    assert given == {"DBT_THREADS": "2"}


@pytest.mark.parametrize(
    "name",
    ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "SLACK_API_KEY", "OTHER_PG_URI", "GOOGLE_CREDENTIALS",
     "KEY_PASSPHRASE", "MYSQL_PASSWD", "APOLLO_ANYTHING"],
)  # fmt: skip
def test_dbt_is_not_given_a_shared_variable_whose_name_says_that_it_is_secret(name: str) -> None:
    assert for_dbt({name: "x", "PATH": "/bin"}, "shop", {}) == {"PATH": "/bin"}


def test_dbt_is_given_what_is_secret_in_dbts_own_way_and_what_is_the_tenants_own() -> None:
    shared = {"DBT_ENV_SECRET_GIT_TOKEN": "masked by dbt", "GITHUB_TOKEN": "ours"}
    own = for_tenant({**shared, "SHOP__GITHUB_TOKEN": "theirs"}, "shop")

    assert for_dbt(own, "shop", {}) == {"DBT_ENV_SECRET_GIT_TOKEN": "masked by dbt", "GITHUB_TOKEN": "theirs"}


def test_what_a_tenant_declares_is_over_the_shared_and_under_its_own_variables() -> None:
    environ = {"REGION": "shared", "CURRENCY": "shared", "LOCALE": "shared", "SHOP__CURRENCY": "own"}

    given = for_dbt(for_tenant(environ, "shop"), "shop", {"REGION": "declared", "CURRENCY": "declared"})

    assert given == {"REGION": "declared", "CURRENCY": "own", "LOCALE": "shared"}


def test_dbt_writes_bytecode_whatever_the_shell_says() -> None:
    assert for_dbt({"PYTHONDONTWRITEBYTECODE": "1"}, "shop", {}) == {}


# ---- .env. ----


def test_a_variable_of_the_process_is_over_the_one_in_dot_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SNOWFLAKE_USER=written\nSNOWFLAKE_ROLE=written # a role\nEMPTY=\nNAMED\n")
    monkeypatch.setenv("SNOWFLAKE_USER", "exported")
    monkeypatch.delenv("SNOWFLAKE_ROLE", raising=False)

    environ = from_process(tmp_path)

    assert (environ["SNOWFLAKE_USER"], environ["SNOWFLAKE_ROLE"], environ["EMPTY"]) == ("exported", "written", "")
    assert "NAMED" not in environ


def test_dot_env_holds_a_pem_over_several_lines(tmp_path: Path) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
    (tmp_path / ".env").write_text(f'SHOP__SNOWFLAKE_PRIVATE_KEY_PEM="{pem}"\n')

    assert from_process(tmp_path)["SHOP__SNOWFLAKE_PRIVATE_KEY_PEM"] == pem


def test_without_dot_env_there_is_the_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLY_HERE", "1")

    assert from_process(tmp_path)["ONLY_HERE"] == "1"
    assert list(tmp_path.iterdir()) == []
