"""A tenant's profile is a text that follows from its settings alone, with no secret in it."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import SettingsError
from dagster_apollo.settings import read
from dagster_apollo.tenant import load_tenant
from dagster_apollo.warehouse.profiles import Profile, adapter_of, build_profile, require_shared_settings, write_profile
from tests.support.shop_tenant import SHOP_PROJECT, open_shop, places_below, write_tenant

CONNECTION = {
    "SNOWFLAKE_ACCOUNT": "acme-north",
    "SNOWFLAKE_USER": "DBT_SHOP",
    "SNOWFLAKE_ROLE": "BUILDER",
    "SNOWFLAKE_WAREHOUSE": "XS",
    "SNOWFLAKE_DATABASE": "SHOP",
}


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(scope="module")
def der(key: rsa.RSAPrivateKey) -> str:
    return base64.b64encode(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()


def profile_of(
    root: Path, environ: dict[str, str], config: str = "", project: str = SHOP_PROJECT, *, parse_only: bool = False
) -> Profile:
    places = places_below(root)
    write_tenant(places, config, project=project)
    tenant = load_tenant(places.tenants_dir, "shop")
    values = read(environ, "shop", tenant.connection_settings())
    return build_profile(tenant, values, Path("/state"), parse_only=parse_only)


# ---- The text. ----


def test_on_a_laptop_there_is_duckdb_alone(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {})

    assert profile.text == (
        "shop_profile:\n"
        "  outputs:\n"
        "    local:\n"
        "      path: /state/warehouse/local/shop.duckdb\n"
        "      schema: main\n"
        "      threads: 4\n"
        "      type: duckdb\n"
        "  target: local\n"
    )
    assert (profile.name, profile.target, profile.targets, profile.adapter) == (
        "shop_profile",
        "local",
        ("local",),
        "duckdb",
    )
    assert profile.secrets == {}


def test_with_a_key_there_are_all_three_targets(tmp_path: Path, pem: str) -> None:
    profile = profile_of(
        tmp_path, {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "prod"}
    )  # fmt: skip

    snowflake = """\
      account: acme-north
      connect_retries: 3
      connect_timeout: 10
      database: SHOP
      private_key: '{{ env_var(''DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY'') }}'
      role: BUILDER
      schema: ''
      threads: THREADS
      type: snowflake
      user: DBT_SHOP
      warehouse: XS
"""
    assert profile.text == (
        "shop_profile:\n"
        "  outputs:\n"
        "    dev:\n" + snowflake.replace("THREADS", "8") + "    local:\n"
        "      path: /state/warehouse/local/shop.duckdb\n"
        "      schema: main\n"
        "      threads: 4\n"
        "      type: duckdb\n"
        "    prod:\n" + snowflake.replace("THREADS", "24") + "  target: prod\n"
    )
    assert (profile.target, profile.targets, profile.adapter) == ("prod", ("local", "dev", "prod"), "snowflake")


def test_a_schema_stands_in_it_only_when_dbt_schema_is_set(tmp_path: Path, pem: str) -> None:
    environ = {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "dev"}

    def schemas(more: dict[str, str]) -> dict[str, str]:
        outputs = yaml.safe_load(profile_of(tmp_path, {**environ, **more}).text)["shop_profile"]["outputs"]
        return {name: output["schema"] for name, output in outputs.items()}

    assert schemas({}) == {"local": "main", "dev": "", "prod": ""}
    assert schemas({"DBT_SCHEMA": "sandbox"}) == {"local": "sandbox", "dev": "sandbox", "prod": "sandbox"}


def test_a_tenant_on_duckdb_has_a_file_a_target_and_needs_no_key(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {"DBT_TARGET": "prod"}, "warehouse: duckdb\n")

    outputs = yaml.safe_load(profile.text)["shop_profile"]["outputs"]
    assert {name: (output["type"], output["path"], output["threads"]) for name, output in outputs.items()} == {
        "local": ("duckdb", "/state/warehouse/local/shop.duckdb", 4),
        "dev": ("duckdb", "/state/warehouse/dev/shop.duckdb", 8),
        "prod": ("duckdb", "/state/warehouse/prod/shop.duckdb", 24),
    }
    assert profile.adapter == "duckdb"


def test_threads_that_are_set_hold_for_every_target(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {"DBT_THREADS": "3"}, "warehouse: duckdb\n")

    outputs = yaml.safe_load(profile.text)["shop_profile"]["outputs"]
    assert [output["threads"] for output in outputs.values()] == [3, 3, 3]


def test_the_projects_own_target_names_are_used(tmp_path: Path) -> None:
    profile = profile_of(
        tmp_path, {"DBT_TARGET": "prod"}, "warehouse: duckdb\ntarget_names: {local: qa, prod: production}\n"
    )

    written = yaml.safe_load(profile.text)["shop_profile"]
    assert set(written["outputs"]) == {"qa", "dev", "production"}
    assert written["target"] == profile.target == "production"
    assert written["outputs"]["qa"]["path"] == "/state/warehouse/local/shop.duckdb"


def test_a_project_that_names_no_profile_gets_the_default_name(tmp_path: Path) -> None:
    assert profile_of(tmp_path, {}, project="name: shop\n").name == "apollo-snowflake"
    assert profile_of(tmp_path, {"DBT_PROFILE_NAME": "ours"}, project="name: shop\n").name == "ours"
    assert profile_of(tmp_path, {"DBT_PROFILE_NAME": "ours"}).name == "shop_profile"


def test_another_host_is_named_only_when_it_is_set(tmp_path: Path, pem: str) -> None:
    environ = {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "dev"}
    local = {"SNOWFLAKE_HOST": "127.0.0.1", "SNOWFLAKE_PORT": "8085", "SNOWFLAKE_PROTOCOL": "http"}

    plain = yaml.safe_load(profile_of(tmp_path, environ).text)["shop_profile"]["outputs"]["dev"]
    other = yaml.safe_load(profile_of(tmp_path, {**environ, **local}).text)["shop_profile"]["outputs"]["dev"]

    assert {"host", "port", "protocol"}.isdisjoint(plain)
    assert (other["host"], other["port"], other["protocol"]) == ("127.0.0.1", 8085, "http")


def test_values_that_yaml_would_read_otherwise_stay_texts(tmp_path: Path, pem: str) -> None:
    odd = {"SNOWFLAKE_ACCOUNT": "12345", "SNOWFLAKE_USER": "no", "SNOWFLAKE_ROLE": "a: b", "SNOWFLAKE_DATABASE": "1e3"}

    profile = profile_of(tmp_path, {**CONNECTION, **odd, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "dev"})

    output = yaml.safe_load(profile.text)["shop_profile"]["outputs"]["dev"]
    assert {f"SNOWFLAKE_{name.upper()}": output[name] for name in ("account", "user", "role", "database")} == odd


def test_the_text_is_the_same_byte_for_byte_whatever_the_order_of_the_environment(tmp_path: Path, pem: str) -> None:
    environ = {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "dev"}

    texts = {
        profile_of(tmp_path, environ).text.encode(),
        profile_of(tmp_path, environ).text.encode(),
        profile_of(tmp_path, dict(reversed(environ.items()))).text.encode(),
        profile_of(tmp_path, {f"SHOP__{name}": value for name, value in environ.items()}).text.encode(),
    }

    assert len(texts) == 1


# ---- The key. ----


def test_the_key_is_in_a_variable_of_its_own_and_shows_nowhere(tmp_path: Path, pem: str, der: str) -> None:
    profile = profile_of(tmp_path, {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "dev"})

    assert profile.secrets == {"DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY": der}
    for shown in (profile.text, repr(profile), str(profile), profile.identity):
        assert der[:40] not in shown.replace("\n", "")
        assert pem.splitlines()[3] not in shown


def test_a_message_about_the_connection_may_say_who_asks(tmp_path: Path, pem: str) -> None:
    profile = profile_of(tmp_path, {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "dev"})

    assert profile.identity.startswith("account acme-north, user DBT_SHOP, role BUILDER, key SHA256:")


def test_an_encrypted_key_is_handed_to_dbt_opened(tmp_path: Path, key: rsa.RSAPrivateKey, der: str) -> None:
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")).decode()
    environ = {**CONNECTION, "DBT_TARGET": "dev", "SHOP__SNOWFLAKE_PRIVATE_KEY_PEM": locked}

    profile = profile_of(tmp_path, {**environ, "SHOP__SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "open sesame"})

    assert list(profile.secrets.values()) == [der]
    assert "sesame" not in repr(profile) + profile.text


def test_what_is_worth_a_warning_goes_with_the_profile(tmp_path: Path, pem: str) -> None:
    environ = {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "x"}

    [note] = profile_of(tmp_path, {**environ, "DBT_TARGET": "dev"}).notes

    assert (note.where, note.severity) == ("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "warning")


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_every_setting_that_is_missing_is_told_at_once(tmp_path: Path, target: str) -> None:
    with pytest.raises(SettingsError) as refused:
        profile_of(tmp_path, {"DBT_TARGET": target, "SNOWFLAKE_USER": "u"}, "snowflake: {role: r}\n")

    assert refused.value.heading == "the Snowflake settings of shop are not right"
    assert [problem.where for problem in refused.value.problems] == [
        "SHOP__SNOWFLAKE_ACCOUNT",
        "SHOP__SNOWFLAKE_WAREHOUSE",
        "SHOP__SNOWFLAKE_DATABASE",
        "SHOP__SNOWFLAKE_PRIVATE_KEY_PEM / SHOP__SNOWFLAKE_PRIVATE_KEY_B64 / SHOP__SNOWFLAKE_PRIVATE_KEY_PATH",
    ]
    assert "Set it, or SNOWFLAKE_ACCOUNT for all." in refused.value.problems[0].remedy


def test_a_key_that_cannot_be_used_is_named_by_its_variable_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        profile_of(tmp_path, {**CONNECTION, "DBT_TARGET": "dev", "SHOP__SNOWFLAKE_PRIVATE_KEY_PEM": "hunter2" * 9})

    assert [problem.where for problem in refused.value.problems] == ["SHOP__SNOWFLAKE_PRIVATE_KEY_PEM"]
    assert "hunter2" not in str(refused.value)


def test_a_broken_key_keeps_nobody_from_building_locally(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": "broken"})

    assert (profile.targets, profile.secrets) == (("local",), {})


# ---- What all tenants share. ----


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_a_shared_key_that_cannot_be_used_lets_nothing_start(target: str) -> None:
    with pytest.raises(SettingsError) as refused:
        require_shared_settings({"DBT_TARGET": target, "SNOWFLAKE_PRIVATE_KEY_B64": "hunter2" * 9})

    assert refused.value.heading == "the settings that all tenants share are not right"
    assert [problem.where for problem in refused.value.problems] == ["SNOWFLAKE_PRIVATE_KEY_B64"]
    assert "hunter2" not in str(refused.value)


def test_a_shared_setting_that_cannot_be_read_lets_nothing_start() -> None:
    with pytest.raises(SettingsError) as refused:
        require_shared_settings({"DBT_TARGET": "prd", "PORT": "x", "SHOP__PORT": "y"})

    assert [problem.where for problem in refused.value.problems] == ["DBT_TARGET", "PORT"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"DBT_TARGET": "prod"},
        {"SNOWFLAKE_PRIVATE_KEY_B64": "broken, but nothing on a laptop needs it"},
        {"DBT_TARGET": "prod", "SHOP__SNOWFLAKE_PRIVATE_KEY_B64": "broken, but one tenant's own matter"},
    ],
)
def test_what_is_one_tenants_matter_lets_the_others_start(environ: dict[str, str]) -> None:
    require_shared_settings(environ)


def test_a_sound_shared_key_lets_everything_start(pem: str) -> None:
    require_shared_settings({"DBT_TARGET": "prod", "SNOWFLAKE_PRIVATE_KEY_PEM": pem})


# ---- For parsing alone. ----


def test_to_parse_nothing_needs_to_be_set(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {"DBT_TARGET": "prod", "SNOWFLAKE_DATABASE": "SHOP"}, parse_only=True)

    output = yaml.safe_load(profile.text)["shop_profile"]["outputs"]["prod"]
    assert (output["account"], output["database"], output["type"]) == ("unset", "SHOP", "snowflake")
    assert profile.secrets == {"DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY": "unset"}
    assert profile.targets == ("local", "dev", "prod")


def test_to_parse_the_key_is_not_even_looked_at(tmp_path: Path, pem: str) -> None:
    environ = {**CONNECTION, "DBT_TARGET": "prod"}

    with_key = profile_of(tmp_path, {**environ, "SNOWFLAKE_PRIVATE_KEY_PEM": pem}, parse_only=True)
    broken = profile_of(tmp_path, {**environ, "SNOWFLAKE_PRIVATE_KEY_PEM": "broken"}, parse_only=True)

    assert with_key.text == broken.text
    assert with_key.secrets == broken.secrets == {"DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY": "unset"}


# ---- Where it builds. ----


def test_two_tenants_on_one_account_are_in_one_place_and_two_duckdb_files_are_not(tmp_path: Path, pem: str) -> None:
    environ = {**CONNECTION, "SNOWFLAKE_PRIVATE_KEY_PEM": pem, "DBT_TARGET": "dev"}

    assert profile_of(tmp_path, environ).place == profile_of(tmp_path, {**environ, "DBT_TARGET": "prod"}).place
    assert (
        profile_of(tmp_path, {**environ, "SNOWFLAKE_ACCOUNT": "ACME-NORTH"}).place
        == profile_of(tmp_path, environ).place
    )
    assert profile_of(tmp_path, {**environ, "SNOWFLAKE_ACCOUNT": "b"}).place != profile_of(tmp_path, environ).place
    assert profile_of(tmp_path, {}).place == "/state/warehouse/local/shop.duckdb"


# ---- The file. ----


def test_the_profiles_folder_is_this_users_alone(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, {})

    folder, other = write_profile(profile), write_profile(profile)

    assert folder != other
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file.name for file in folder.iterdir()] == ["profiles.yml"]
    assert (folder / "profiles.yml").read_text() == profile.text


def test_the_profiles_folder_goes_with_the_process() -> None:
    program = (
        "from dagster_apollo.warehouse.profiles import Profile, write_profile\n"
        "folder = write_profile(Profile('p', 't', ('t',), 'duckdb', '', 'text', {}))\n"
        "print(folder, (folder / 'profiles.yml').exists())\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    folder, there = ended.stdout.split()
    assert there == "True"
    assert not Path(folder).exists()


def test_what_a_killed_process_left_goes_when_the_next_profile_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = tmp_path / f"apollo-profile-{ended.pid}-x", tmp_path / f"apollo-profile-{os.getppid()}-x"
    for folder in (dead, alive):
        folder.mkdir()

    written = open_shop(tmp_path / "shop").profiles_dir

    assert written.parent == tmp_path
    assert not dead.exists()
    assert alive.exists()


def test_a_profile_stays_for_a_fork_that_outlives_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "import os, sys, tempfile\nfrom pathlib import Path\n"
        "from tests.support.shop_tenant import open_shop\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "print(open_shop(Path(sys.argv[1]) / 'first').profiles_dir, flush=True)\n"
        "if os.fork() == 0:\n    sys.stdin.read()\n    os._exit(0)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=repository_root(), stdin=pipe, stdout=pipe, text=True) as started:
        assert started.stdout is not None
        assert started.stdin is not None
        kept = Path(started.stdout.readline().strip())
        started.wait()  # its fork reads on

        open_shop(tmp_path / "second")
        assert (kept / "profiles.yml").exists()

        started.stdin.close()
        assert started.stdout.read() == ""  # the fork is gone
    open_shop(tmp_path / "third")
    assert not kept.exists()


@pytest.mark.parametrize("warehouse", ["duckdb", "postgres", "snowflake", "dbt_cloud"])
@pytest.mark.parametrize("target", ["local", "dev", "prod"])
def test_the_adapter_that_is_loaded_beforehand_is_the_one_of_the_profile(
    tmp_path: Path, warehouse: str, target: str
) -> None:
    config = f"warehouse: {warehouse}\n" + (
        "dbt_cloud: {account_id: 1, project_id: 2, environment_id: 3}\n" * (warehouse == "dbt_cloud")
    )
    profile = profile_of(tmp_path, {"DBT_TARGET": target}, config, parse_only=True)

    assert profile.adapter == adapter_of(warehouse, target)
