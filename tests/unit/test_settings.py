"""An environment is read once, strictly, with all of its problems told together and no secret in any of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy.engine import make_url

from dagster_apollo.errors import Problem, SettingsError
from dagster_apollo.settings import (
    BY_NAME,
    SETTINGS,
    colliding_prefixes,
    prefix,
    read,
    shared_problems,
    suspicious_variables,
)

SECRET = "correct-horse-Battery"


def problems_of(environ: Mapping[str, str], tenant: str | None = None) -> list[Problem]:
    with pytest.raises(SettingsError) as refused:
        read(environ, tenant)
    return list(refused.value.problems)


# ---- Defaults. ----


def test_nothing_set_is_a_laptop() -> None:
    values = read({})

    assert values.target == "local"
    assert values["DBT_THREADS"] == 4
    assert values["DBT_PROFILE_NAME"] == "apollo-snowflake"
    assert values["PORT"] == 3000
    assert values["DAGSTER_PG_URI"] is None
    assert values["DBT_SCHEMA"] is None
    assert values.sources == {}


@pytest.mark.parametrize(("target", "threads"), [("local", 4), ("dev", 8), ("prod", 24)])
def test_a_default_may_depend_on_the_target(target: str, threads: int) -> None:
    assert read({"DBT_TARGET": target}).integer("DBT_THREADS") == threads


def test_every_setting_has_a_value_of_its_kind_or_none() -> None:
    values = read({})

    assert set(values) == set(BY_NAME)
    assert len(values) == len(SETTINGS) == len(BY_NAME), "a setting is declared twice"
    for setting in SETTINGS:
        kind = {"integer": int, "boolean": bool}.get(setting.kind, str)
        assert values[setting.name] is None or type(values[setting.name]) is kind, setting.name


def test_every_setting_says_what_it_is_for_in_one_sentence() -> None:
    for setting in SETTINGS:
        assert setting.help.endswith("."), setting.name
        assert setting.used_by, setting.name
        assert bool(setting.choices) == (setting.kind == "choice"), setting.name


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_variable_is_an_unset_one(blank: str) -> None:
    values = read({"DBT_TARGET": blank, "SNOWFLAKE_USER": blank})

    assert (values.target, values["SNOWFLAKE_USER"]) == ("local", None)
    assert "SNOWFLAKE_USER" not in values.sources


# ---- Each kind. ----


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("256", 256), (" 16 ", 16), ("008", 8)])
def test_an_integer_is_digits_within_its_bounds(text: str, number: int) -> None:
    assert read({"DBT_THREADS": text}).integer("DBT_THREADS") == number


@pytest.mark.parametrize(
    "text", ["0", "257", "-1", "+4", "4.0", "1e2", "0x10", "four", "4 8", "٤", "99999999999999999999"]
)
def test_an_integer_that_is_none_or_out_of_bounds_is_refused(text: str) -> None:
    [problem] = problems_of({"DBT_THREADS": text})

    assert problem.where == "DBT_THREADS"
    assert problem.what == f"{text!r} is not a whole number from 1 to 256"


@pytest.mark.parametrize("name", ["PORT", "SNOWFLAKE_PORT"])
@pytest.mark.parametrize("text", ["0", "65536"])
def test_a_port_is_from_1_to_65535(name: str, text: str) -> None:
    assert [problem.where for problem in problems_of({name: text})] == [name]
    assert read({name: "65535"}).integer(name) == 65535


@pytest.mark.parametrize(
    ("text", "hint"),
    [("Prod", "Did you mean `prod`?"), ("PROD", "Did you mean `prod`?"), ("prodd", "Did you mean `prod`?"),
     ("staging", "Set it to one of them.")],
)  # fmt: skip
def test_a_choice_is_exact_and_a_near_miss_is_named(text: str, hint: str) -> None:
    [problem] = problems_of({"DBT_TARGET": text})

    assert problem.what == f"{text!r} is not one of local, dev, prod"
    assert problem.remedy.endswith(hint)


@pytest.mark.parametrize("text", ["{{ env_var('X') }}", "a{% raw %}", "{# no #}", "two\nlines", "a\tb", "nul\0"])
def test_a_plain_text_holds_neither_jinja_nor_control_characters(text: str) -> None:
    [problem] = problems_of({"SNOWFLAKE_ACCOUNT": text})

    assert problem.where == "SNOWFLAKE_ACCOUNT"
    assert "a control character or a Jinja bracket" in problem.what


def test_a_plain_text_may_hold_anything_else() -> None:
    values = read({"SNOWFLAKE_USER": " Jürgen {dbt} O'Neil ", "SNOWFLAKE_ROLE": '"Mixed Case"'})

    assert values.text("SNOWFLAKE_USER") == "Jürgen {dbt} O'Neil"
    assert values.text("SNOWFLAKE_ROLE") == '"Mixed Case"'


def test_a_key_variable_is_handed_on_as_it_stands() -> None:
    pasted = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
    values = read({"SNOWFLAKE_PRIVATE_KEY_PATH": pasted, "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": " with blanks "})

    assert values["SNOWFLAKE_PRIVATE_KEY_PATH"] == pasted  # the key's reader understands it, and says so
    assert values["SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"] == " with blanks "


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://apollo:p%40ss@db.internal:5432/dagster",
        "postgres://apollo:p%40ss@db.internal:5432/dagster",
        "POSTGRES://apollo:p%40ss@db.internal:5432/dagster",
        "postgresql+psycopg2://apollo:p%40ss@db.internal:5432/dagster",
        "postgresql+psycopg://apollo:p%40ss@db.internal:5432/dagster",
        "  postgresql://apollo:p%40ss@db.internal:5432/dagster\n",
    ],
)
def test_a_postgres_url_is_given_the_driver_that_is_installed(written: str) -> None:
    url = read({"DAGSTER_PG_URI": written}).text("DAGSTER_PG_URI")

    assert url == "postgresql+psycopg2://apollo:p%40ss@db.internal:5432/dagster"
    assert make_url(url).password == "p@ss"


def test_a_postgres_url_keeps_its_query() -> None:
    url = read({"DAGSTER_PG_URI": "postgres://u:p@h/d?sslmode=require&x=postgres://"}).text("DAGSTER_PG_URI")

    assert url == "postgresql+psycopg2://u:p@h/d?sslmode=require&x=postgres://"


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (f"postgresql://apollo:{SECRET}@db.internal:5432", "it names no database"),
        (f"postgresql://apollo:{SECRET}@db.internal:5432/", "it names no database"),
        (f"mysql://apollo:{SECRET}@db.internal/dagster", "its scheme is `mysql`, not `postgresql`"),
        (f"postgresql://apollo:{SECRET}@db.internal:port/dagster", "the port is not a number"),
        (f"postgresql://apollo:{SECRET}/x@db.internal/dagster", "the port is not a number"),
        (f"postgresql://apollo:{SECRET}@[::1/dagster", "a bracket is open"),
        (f"{SECRET}:apollo@db.internal/dagster", "its value is not a URL"),
        (f"postgresql:apollo:{SECRET}@db.internal/dagster", "its value is not a URL"),
        (SECRET, "its value is not a URL"),
    ],
)
def test_a_postgres_url_that_is_none_is_refused_without_its_password(written: str, what: str) -> None:
    [problem] = problems_of({"DAGSTER_PG_URI": written})

    assert problem.where == "DAGSTER_PG_URI"
    assert what in problem.what
    assert SECRET not in str(problem)
    assert SECRET.lower() not in str(problem)


# ---- All problems together. ----


def test_all_problems_are_told_together_in_the_order_of_the_settings() -> None:
    environ = {"PORT": "x", "SNOWFLAKE_PORT": "0", "DBT_TARGET": "prd", "DAGSTER_PG_URI": "x", "DBT_THREADS": "0"}

    assert [problem.where for problem in problems_of(environ)] == [
        "DBT_TARGET",
        "DBT_THREADS",
        "SNOWFLAKE_PORT",
        "DAGSTER_PG_URI",
        "PORT",
    ]
    assert shared_problems(environ) == problems_of(environ)
    assert shared_problems({}) == []


def test_what_is_wrong_with_a_tenants_own_variable_is_no_shared_problem() -> None:
    environ = {"SHOP__DBT_THREADS": "many", "DBT_THREADS": "2"}

    assert shared_problems(environ) == []
    assert [problem.where for problem in problems_of(environ, "shop")] == ["SHOP__DBT_THREADS"]
    assert read(environ, "cellar").integer("DBT_THREADS") == 2


# ---- Whose value it is. ----


def test_a_tenants_variable_is_over_its_yaml_and_that_is_over_the_shared_one() -> None:
    environ = {"SHOP__SNOWFLAKE_USER": "by_prefix", "SNOWFLAKE_USER": "shared", "SNOWFLAKE_ROLE": "shared_role"}
    declared = {"SNOWFLAKE_USER": "by_yaml", "SNOWFLAKE_ROLE": "by_yaml", "SNOWFLAKE_DATABASE": None}

    values = read({**environ, "SNOWFLAKE_DATABASE": "shared_db"}, "shop", declared)

    assert (values["SNOWFLAKE_USER"], values["SNOWFLAKE_ROLE"], values["SNOWFLAKE_DATABASE"]) == (
        "by_prefix",
        "by_yaml",
        "shared_db",
    )
    assert values.sources == {
        "SNOWFLAKE_USER": "SHOP__SNOWFLAKE_USER",
        "SNOWFLAKE_ROLE": "tenants/shop/tenant.yaml",
        "SNOWFLAKE_DATABASE": "SNOWFLAKE_DATABASE",
    }


def test_a_message_about_a_value_names_where_it_came_from() -> None:
    with pytest.raises(SettingsError) as refused:
        read({}, "shop", {"SNOWFLAKE_ACCOUNT": "{{ x }}"})
    assert [problem.where for problem in refused.value.problems] == ["tenants/shop/tenant.yaml"]

    values = read({"SNOWFLAKE_USER": "u"}, "shop")
    assert values.source("SNOWFLAKE_USER", "shop") == "SNOWFLAKE_USER"
    assert values.source("SNOWFLAKE_ROLE", "shop") == "SHOP__SNOWFLAKE_ROLE"
    assert values.source("SNOWFLAKE_ROLE") == "SNOWFLAKE_ROLE"
    assert values.source("DAGSTER_PG_URI", "shop") == "DAGSTER_PG_URI"


def test_a_blank_variable_of_the_tenants_does_not_hide_the_shared_one() -> None:
    assert read({"SHOP__SNOWFLAKE_USER": " ", "SNOWFLAKE_USER": "shared"}, "shop")["SNOWFLAKE_USER"] == "shared"


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if not setting.per_tenant])
def test_a_setting_that_cannot_differ_by_tenant_does_not(name: str) -> None:
    assert read({f"SHOP__{name}": "7"}, "shop")[name] == BY_NAME[name].default_for("local")


def test_another_tenants_variable_is_not_read() -> None:
    environ = {"CELLAR__SNOWFLAKE_USER": "theirs", "SHOP_2__SNOWFLAKE_USER": "theirs"}

    assert read(environ, "shop")["SNOWFLAKE_USER"] is None
    assert read(environ)["SNOWFLAKE_USER"] is None


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        ("SNOWFLAKE_PRIVATE_KEY_PATH", "SNOWFLAKE_PRIVATE_KEY_B64"),
        ("SNOWFLAKE_PRIVATE_KEY_B64", "SNOWFLAKE_PRIVATE_KEY_PEM"),
        ("SNOWFLAKE_PRIVATE_KEY_PEM", "SNOWFLAKE_PRIVATE_KEY_PATH"),
        ("SNOWFLAKE_PRIVATE_KEY_PEM", "SNOWFLAKE_PRIVATE_KEY_PEM"),
    ],
)
def test_a_tenants_own_key_replaces_the_shared_one_of_whatever_form(own: str, shared: str) -> None:
    environ = {f"SHOP__{own}": "mine", shared: "ours", "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "of ours"}

    values = read(environ, "shop")

    keys = {name: values[name] for name in BY_NAME if "PRIVATE_KEY" in name and values[name]}
    assert keys == {own: "mine"}


def test_a_tenants_own_key_goes_with_its_own_passphrase() -> None:
    environ = {"SHOP__SNOWFLAKE_PRIVATE_KEY_PEM": "mine", "SHOP__SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "p"}

    assert read(environ, "shop")["SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"] == "p"


def test_two_shared_keys_are_both_seen_so_that_they_can_be_refused() -> None:
    values = read({"SNOWFLAKE_PRIVATE_KEY_PEM": "a", "SNOWFLAKE_PRIVATE_KEY_B64": "b"}, "shop")

    assert (values["SNOWFLAKE_PRIVATE_KEY_PEM"], values["SNOWFLAKE_PRIVATE_KEY_B64"]) == ("a", "b")


# ---- Secrets. ----

SECRETS = [setting.name for setting in SETTINGS if setting.secret]


def test_the_settings_that_are_secret_are_marked() -> None:
    assert set(SECRETS) == {
        "SNOWFLAKE_PRIVATE_KEY_PEM",
        "SNOWFLAKE_PRIVATE_KEY_B64",
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
        "DAGSTER_PG_URI",
        "APOLLO_CODE_TOKEN",
        "APOLLO_SESSION_SECRET",
        "APOLLO_ACCESS",
        "OIDC_CLIENT_SECRET",
        "RENDER_API_KEY",
        "RENDER_DEPLOY_HOOK_WEBSERVER",
        "RENDER_DEPLOY_HOOK_DAEMON",
        "RENDER_DEPLOY_HOOK_CODE",
        "APOLLO_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "DATABRICKS_TOKEN",
        "DBT_CLOUD_TOKEN",
        "OPENLINEAGE_API_KEY",
        "POSTGRES_URL",
    }


def test_values_show_no_secret() -> None:
    urls = dict.fromkeys(("DAGSTER_PG_URI", "POSTGRES_URL"), f"postgresql://u:{SECRET}@h/d")
    values = read({**dict.fromkeys(SECRETS, SECRET), **urls}, "shop")

    assert values["SNOWFLAKE_PRIVATE_KEY_PEM"] == SECRET
    for shown in (repr(values), str(values), f"{values}", f"{[values]}"):
        assert SECRET not in shown


@pytest.mark.parametrize("name", ["SNOWFLAKE_ACCOUNT", "SNOWFLAKE_PORT", "DBT_TARGET", "DBT_THREADS", "PORT"])
def test_a_key_that_was_pasted_into_the_wrong_variable_is_not_shown(name: str) -> None:
    pasted = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"

    for text in (pasted, SECRET * 20):
        told = [str(problem) for problem in shared_problems({name: text})]
        assert len(told) == (0 if name == "SNOWFLAKE_ACCOUNT" and text != pasted else 1)
        assert SECRET not in "".join(told)


# ---- Prefixes and variables that nothing reads. ----


@pytest.mark.parametrize(
    ("tenant", "expected"), [("shop", "SHOP__"), ("dbt_shop_2", "DBT_SHOP_2__"), ("my-shop.eu", "MY_SHOP_EU__")]
)
def test_a_prefix_is_the_folder_in_capitals(tenant: str, expected: str) -> None:
    assert prefix(tenant) == expected


def test_folders_collide_when_one_would_read_the_others_variables() -> None:
    assert colliding_prefixes(["shop", "cellar", "shop_2", "shops"]) == []
    assert colliding_prefixes(["shop", "Shop"]) == [("Shop", "shop")]
    assert colliding_prefixes(["my_shop", "my-shop", "x"]) == [("my-shop", "my_shop")]
    assert colliding_prefixes(["shop", "shop_"]) == [("shop", "shop_")]  # SHOP__ and SHOP___


def test_a_misspelt_variable_is_told_with_what_was_meant() -> None:
    environ = {"SNOWFLAKE_ACOUNT": "x", "SHOP__SNOWFLAKE_USR": "x", "APOLLO_STATE": "x", "DAGSTER_PG_URL": "x"}

    told = {problem.where: problem for problem in suspicious_variables(environ, ["shop"])}

    assert set(told) == set(environ)
    assert {problem.severity for problem in told.values()} == {"warning"}
    assert told["SNOWFLAKE_ACOUNT"].remedy == "Did you mean SNOWFLAKE_ACCOUNT?"
    assert told["SHOP__SNOWFLAKE_USR"].remedy == "Did you mean SNOWFLAKE_USER?"
    assert told["DAGSTER_PG_URL"].remedy == "Did you mean DAGSTER_PG_URI?"


def test_a_prefix_that_no_folder_has_is_told() -> None:
    environ = {"SHPO__SNOWFLAKE_USER": "x", "GONE__SNOWFLAKE_PRIVATE_KEY_B64": SECRET}

    told = {problem.where: problem for problem in suspicious_variables(environ, ["shop"])}

    assert told["SHPO__SNOWFLAKE_USER"].remedy == "Did you mean `SHOP__SNOWFLAKE_USER`?"
    assert told["GONE__SNOWFLAKE_PRIVATE_KEY_B64"].what == "no tenant has this prefix, so no process is given it"
    assert SECRET not in "".join(map(str, told.values()))


def test_a_shared_setting_under_a_prefix_is_told() -> None:
    [problem] = suspicious_variables({"SHOP__DAGSTER_PG_URI": "x"}, ["shop"])

    assert (problem.where, problem.what) == ("SHOP__DAGSTER_PG_URI", "DAGSTER_PG_URI cannot differ by tenant")


def test_what_is_read_and_what_is_none_of_ours_is_not_told() -> None:
    environ = {"PATH": "/bin", "__CF_USER": "x", "DAGSTER_HOME": "x", "SHOP__API_TOKEN": "x"}

    assert suspicious_variables({**environ, **dict.fromkeys(BY_NAME, "x")}, ["shop"]) == []
    assert suspicious_variables({f"SHOP__{s.name}": "x" for s in SETTINGS if s.per_tenant}, ["shop"]) == []
