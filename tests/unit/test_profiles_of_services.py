"""What a tenant's `services` and `warehouse` put into its profile, and what is said of settings that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_apollo.errors import SettingsError
from dagster_apollo.settings import read
from dagster_apollo.tenant import load_tenant
from dagster_apollo.warehouse.duckdb import link_extensions
from dagster_apollo.warehouse.profiles import Profile, build_profile
from tests.support.shop_tenant import places_below, write_tenant

POSTGRES = {"SHOP__POSTGRES_URL": "postgresql://bob:s3cr%40t%2F@db.example.com:6432/marts?sslmode=require"}
S3 = {"AWS_ACCESS_KEY_ID": "key-id", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000"}
ATTACHED = "warehouse: duckdb\nservices: [postgres]\n"
STORED = "warehouse: duckdb\nservices: [s3]\n"
ON_POSTGRES = "warehouse: postgres\n"


def profile_of(root: Path, environ: dict[str, str], config: str, *, parse_only: bool = False) -> Profile:
    places = places_below(root)
    write_tenant(places, config)
    tenant = load_tenant(places.tenants_dir, "shop")
    values = read(environ, "shop", tenant.connection_settings())
    return build_profile(tenant, values, Path("/state"), parse_only=parse_only)


def output(profile: Profile, target: str = "local") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(profile.text)[profile.name]["outputs"][target]
    return found


# ---- A Postgres that is attached. ----


def test_a_postgres_is_attached_by_a_secret_of_duckdbs_and_its_password_is_a_variable(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, POSTGRES, ATTACHED)

    assert output(profile) == {
        "type": "duckdb",
        "path": "/state/warehouse/local/shop.duckdb",
        "schema": "main",
        "threads": 4,
        "attach": [
            {
                "alias": "postgres",
                "type": "postgres",
                "secret": "apollo_postgres",
                "path": "connect_timeout='10' sslmode='require'",
            }
        ],
        "secrets": [
            {
                "type": "postgres",
                "name": "apollo_postgres",
                "host": "db.example.com",
                "port": "6432",
                "database": "marts",
                "user": "bob",
                "password": "{{ env_var('DBT_ENV_SECRET_POSTGRES_PASSWORD') }}",
            }
        ],
        "extensions": ["postgres"],
        "config_options": {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "extension_directory": "{{ env_var('DUCKDB_EXTENSION_DIRECTORY', '/state/duckdb_extensions') }}",
        },
    }
    assert profile.secrets == {"DBT_ENV_SECRET_POSTGRES_PASSWORD": "s3cr@t/"}
    assert profile.targets == ("local", "dev", "prod")


# ---- An object store. ----


def test_a_store_of_ones_own_is_reached_by_its_address_and_buckets_are_paths(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {**S3, "AWS_REGION": "eu-north-1"}, STORED)

    assert output(profile)["extensions"] == ["httpfs"]
    assert output(profile)["secrets"] == [
        {
            "type": "s3",
            "name": "apollo_s3",
            "key_id": "key-id",
            "secret": "{{ env_var('DBT_ENV_SECRET_AWS_SECRET_ACCESS_KEY') }}",
            "region": "eu-north-1",
            "endpoint": "127.0.0.1:9000",
            "use_ssl": "false",
            "url_style": "path",
        }
    ]
    assert profile.secrets == {"DBT_ENV_SECRET_AWS_SECRET_ACCESS_KEY": "hunter2"}


def test_amazons_own_store_needs_no_address(tmp_path: Path) -> None:
    environ = {name: value for name, value in S3.items() if name != "AWS_ENDPOINT_URL_S3"}

    [secret] = output(profile_of(tmp_path, environ, STORED))["secrets"]

    assert {"endpoint", "use_ssl", "url_style"}.isdisjoint(secret)
    assert secret["region"] == "us-east-1"


def test_an_address_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        profile_of(tmp_path, {**S3, "AWS_ENDPOINT_URL_S3": "localhost", "DBT_TARGET": "prod"}, STORED)

    assert [problem.where for problem in refused.value.problems] == ["AWS_ENDPOINT_URL_S3"]


# ---- Postgres as the warehouse. ----


def test_dev_and_prod_build_on_postgres_and_local_on_duckdb(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {**POSTGRES, "DBT_TARGET": "prod"}, ON_POSTGRES)

    assert output(profile)["type"] == "duckdb"
    assert output(profile, "prod") == {
        "type": "postgres",
        "host": "db.example.com",
        "port": 6432,
        "user": "bob",
        "password": "{{ env_var('DBT_ENV_SECRET_POSTGRES_PASSWORD') }}",
        "dbname": "marts",
        "schema": "public",
        "threads": 24,
        "connect_timeout": 10,
        "sslmode": "require",
    }
    assert (profile.adapter, profile.place) == ("postgres", "db.example.com:6432/marts")
    assert profile.secrets == {"DBT_ENV_SECRET_POSTGRES_PASSWORD": "s3cr@t/"}


def test_on_a_laptop_a_tenant_on_postgres_needs_none(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {}, ON_POSTGRES)

    assert (profile.targets, profile.missing) == (("local",), ())


# ---- What is missing. ----


@pytest.mark.parametrize("target", ["dev", "prod"])
@pytest.mark.parametrize(
    ("config", "named"),
    [
        (ATTACHED, ["SHOP__POSTGRES_URL"]),
        (ON_POSTGRES, ["SHOP__POSTGRES_URL"]),
        (STORED, ["SHOP__AWS_ACCESS_KEY_ID", "SHOP__AWS_SECRET_ACCESS_KEY"]),
        ("warehouse: duckdb\nservices: [dynamodb]\n", ["SHOP__AWS_ACCESS_KEY_ID", "SHOP__AWS_SECRET_ACCESS_KEY"]),
        (
            "warehouse: postgres\nservices: [s3, dynamodb, postgres]\n",
            ["SHOP__POSTGRES_URL", "SHOP__AWS_ACCESS_KEY_ID", "SHOP__AWS_SECRET_ACCESS_KEY"],
        ),
    ],
)
def test_where_it_is_deployed_every_setting_that_is_missing_is_told_at_once(
    tmp_path: Path, config: str, named: list[str], target: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        profile_of(tmp_path, {"DBT_TARGET": target}, config)

    assert sorted(problem.where for problem in refused.value.problems) == sorted(named)
    assert refused.value.heading == "the settings of shop are not right"


def test_on_a_laptop_the_profile_is_there_and_says_what_it_lacks(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {}, "warehouse: duckdb\nservices: [postgres, s3]\n")

    assert [problem.where for problem in profile.missing] == [
        "SHOP__POSTGRES_URL",
        "SHOP__AWS_ACCESS_KEY_ID",
        "SHOP__AWS_SECRET_ACCESS_KEY",
    ]
    assert output(profile)["attach"][0]["alias"] == "postgres"
    assert profile.targets == ("local",)


def test_to_parse_nothing_needs_to_be_set(tmp_path: Path) -> None:
    for config in (ATTACHED, STORED, ON_POSTGRES):
        profile = profile_of(tmp_path, {"DBT_TARGET": "prod"}, config, parse_only=True)

        assert profile.targets == ("local", "dev", "prod")
        assert profile.missing == ()


def test_no_secret_shows_in_the_text_or_in_what_is_printed(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {**POSTGRES, **S3}, "warehouse: postgres\nservices: [postgres, s3]\n")

    for shown in (profile.text, repr(profile), str(profile)):
        assert "s3cr" not in shown
        assert "hunter2" not in shown


def test_a_tenant_with_several_services_on_snowflake_still_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        profile_of(tmp_path, {"DBT_TARGET": "prod"}, "services: [postgres]\n")

    named = [problem.where for problem in refused.value.problems]
    assert "SHOP__SNOWFLAKE_ACCOUNT" in named
    assert "SHOP__POSTGRES_URL" in named


# ---- The extensions. ----


def test_extensions_are_links_to_the_wheels_of_the_lock(tmp_path: Path) -> None:
    link_extensions(tmp_path, ["postgres", "s3", "dynamodb"])
    links = sorted((tmp_path / "duckdb_extensions").rglob("*.duckdb_extension"))

    assert [link.name for link in links] == ["httpfs.duckdb_extension", "postgres_scanner.duckdb_extension"]
    assert all(link.is_symlink() and link.is_file() for link in links)


def test_a_link_that_leads_to_another_wheel_is_made_anew(tmp_path: Path) -> None:
    link_extensions(tmp_path, ["s3"])
    [link] = (tmp_path / "duckdb_extensions").rglob("*.duckdb_extension")
    right = link.readlink()
    link.unlink()
    link.symlink_to("/nowhere")

    link_extensions(tmp_path, ["s3"])

    assert link.readlink() == right
    assert [entry.name for entry in link.parent.iterdir()] == [link.name]


def test_a_tenant_without_services_has_no_folder_of_extensions(tmp_path: Path) -> None:
    link_extensions(tmp_path, ["dynamodb"])

    assert list(tmp_path.iterdir()) == []
