"""Each check of the doctor finds what it is for, says what to do, and finds nothing where nothing is wrong."""

from __future__ import annotations

import importlib.metadata
import shutil
import socket
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dagster_apollo import doctor
from dagster_apollo.dbt.workspace import Places
from dagster_apollo.errors import HostError, Problem
from stand_ins import postgres
from tests.support.canned_http import canned_http
from tests.support.shop_tenant import places_below, write_tenant

SECRET = "correct-horse-Battery"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = places_below(tmp_path)
    (tmp_path / "requirements.txt").write_text(f"pytest=={importlib.metadata.version('pytest')} \\\n    --hash=x\n")
    write_tenant(made)
    return made


@pytest.fixture(scope="module")
def pem() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def connection(pem: str) -> dict[str, str]:
    names = ("ACCOUNT", "USER", "ROLE", "WAREHOUSE", "DATABASE")
    return {**{f"SNOWFLAKE_{name}": name.lower() for name in names}, "SNOWFLAKE_PRIVATE_KEY_PEM": pem}


def check(heading: str, environ: dict[str, str], places: Places) -> dict[str, Problem]:
    return {problem.where: problem for problem in doctor.CHECKS[heading](environ, places)}


def test_every_check_is_made_and_changes_nothing(places: Places) -> None:
    before = sorted(places.root.rglob("*"))

    found = doctor.examine({}, places)

    assert list(found) == ["machine", "environment", "tenants", "services", "keys", "connections", "database"]
    assert [str(problem) for problems in found.values() for problem in problems if problem.severity == "error"] == []
    assert sorted(places.root.rglob("*")) == before


# ---- The machine. ----


def test_a_sound_machine_is_well(places: Places) -> None:
    assert check("machine", {}, places) == {}


@pytest.mark.parametrize(("version", "well"), [((3, 10, 9), False), ((3, 11, 0), True), ((3, 13, 9), True),
                                               ((3, 14, 0), False)])  # fmt: skip
def test_another_python_is_told(
    places: Places, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], well: bool
) -> None:
    monkeypatch.setattr(sys, "version_info", version)

    assert ("Python" not in check("machine", {}, places)) == well


def test_packages_that_are_not_the_locks_are_told(places: Places) -> None:
    (places.root / "requirements.txt").write_text(
        "pytest==0.1 \\\n    --hash=sha256:x\nno-such-thing==1.0\ncolorama==9 ; sys_platform == 'win32'\n# dagster==1\n"
    )

    found = check("machine", {}, places)

    assert found["pytest"].what == f"is {importlib.metadata.version('pytest')}, the lock says 0.1"
    assert found["no-such-thing"].what == "is not installed, the lock says 1.0"
    assert set(found) == {"pytest", "no-such-thing"}
    assert found["pytest"].remedy == "Run `make setup`."


def test_a_full_disk_is_told(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**9))

    assert check("machine", {}, places)[str(places.root)].what == "has 1.0 GB of disk left"


def test_a_shell_without_bytecode_is_noted(places: Places) -> None:
    found = check("machine", {"PYTHONDONTWRITEBYTECODE": "1"}, places)

    assert found["PYTHONDONTWRITEBYTECODE"].severity == "note"


# ---- The environment. ----


def test_variables_that_are_wrong_misspelt_or_nobodys_are_told(places: Places) -> None:
    found = check(
        "environment",
        {"DBT_TARGET": "prd", "SNOWFLAKE_ACOUNT": SECRET, "SHPO__SNOWFLAKE_PRIVATE_KEY_PEM": SECRET},
        places,
    )

    assert {where: problem.severity for where, problem in found.items()} == {
        "DBT_TARGET": "error",
        "SNOWFLAKE_ACOUNT": "warning",
        "SHPO__SNOWFLAKE_PRIVATE_KEY_PEM": "warning",
    }
    assert SECRET not in "".join(map(str, found.values()))


def test_colliding_folders_are_told(places: Places) -> None:
    write_tenant(places, name="shop_")

    assert "tenants/shop and tenants/shop_" in check("environment", {}, places)


def test_a_dot_env_that_others_may_read_is_told(places: Places) -> None:
    written = places.root / ".env"
    written.write_text(f"X={SECRET}\n")
    written.chmod(0o640)
    assert check("environment", {}, places)[".env"].severity == "warning"

    written.chmod(0o600)
    assert check("environment", {}, places) == {}


# ---- The tenants. ----


def test_a_tenant_that_cannot_be_served_is_told_with_all_that_is_wrong(places: Places) -> None:
    write_tenant(places, "warehose: x\nretries: {count: 99}\n")

    assert {"tenants/shop/tenant.yaml: warehose", "tenants/shop/tenant.yaml: retries.count"} <= set(
        check("tenants", {}, places)
    )


def test_a_tenants_own_variable_that_is_wrong_is_told(places: Places) -> None:
    assert set(check("tenants", {"SHOP__DBT_THREADS": "many"}, places)) == {"SHOP__DBT_THREADS"}


def test_a_tenant_that_is_not_prepared_is_noted(places: Places) -> None:
    assert check("tenants", {}, places)["tenants/shop"].what == "is not prepared"

    prepared = places.state_dir / "tenants" / "shop" / "prepared" / "local"
    prepared.mkdir(parents=True)
    (prepared / "manifest.json").write_text("{}")
    assert check("tenants", {}, places) == {}


def test_no_tenant_at_all_is_told(places: Places) -> None:
    shutil.rmtree(places.tenants_dir / "shop")

    assert check("tenants", {}, places)["tenants/"].remedy == "Make one: `apollo tenant new NAME`."


# ---- Services of tenants. ----

ON_POSTGRES = "warehouse: duckdb\nservices: [postgres]\n"


def test_what_stands_in_on_a_laptop_is_noted(places: Places) -> None:
    write_tenant(places, ON_POSTGRES)

    [note] = doctor.CHECKS["services"]({"DBT_TARGET": "local"}, places)

    assert (note.where, note.severity) == ("tenants/shop", "note")
    assert note.what.startswith("finds no POSTGRES_URL, so that in `make dev` a Postgres of this machine (")


def test_nothing_stands_in_for_a_service_that_is_set(places: Places) -> None:
    write_tenant(places, ON_POSTGRES)

    assert check("services", {"POSTGRES_URL": "postgresql://a:b@localhost/c"}, places) == {}


def test_a_service_that_nothing_can_stand_in_for_is_a_warning(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_server(_: Path) -> Path:
        raise HostError([Problem("Postgres", "is not on this machine", "Install PostgreSQL.")])

    monkeypatch.setattr(postgres, "require_programs", no_server)
    write_tenant(places, ON_POSTGRES)

    warning = check("services", {}, places)["tenants/shop"]

    assert warning.severity == "warning"
    assert warning.what == "needs POSTGRES_URL, and nothing can stand in: Postgres is not on this machine"
    assert warning.remedy == "Install PostgreSQL."


def test_a_container_engine_that_does_not_answer_is_a_warning_with_the_way_out(places: Places) -> None:
    write_tenant(places, "warehouse: duckdb\nexecution: docker\ncontainer: {image: 'shop:1'}\n")

    warning = check("services", {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}, places)["tenants/shop"]

    assert warning.severity == "warning"
    assert "unix:///nonexistent/docker.sock: the container engine does not answer" in warning.what
    assert "SHOP__APOLLO_EXECUTION=process" in warning.remedy


def test_where_nothing_stands_in_a_missing_service_is_an_error(places: Places) -> None:
    write_tenant(places, ON_POSTGRES)

    found = check("services", {"DBT_TARGET": "prod"}, places)

    assert found["SHOP__POSTGRES_URL"].severity == "error"


# ---- Keys. ----


def test_a_key_that_is_missing_is_an_error_where_it_is_needed_and_a_note_on_a_laptop(places: Places) -> None:
    told = check("keys", {"DBT_TARGET": "prod"}, places)
    assert {"SHOP__SNOWFLAKE_ACCOUNT", "SHOP__SNOWFLAKE_DATABASE"} <= set(told)
    assert {problem.severity for problem in told.values()} == {"error"}

    [note] = check("keys", {}, places).values()
    assert (note.where, note.severity) == ("tenants/shop", "note")
    assert "SHOP__SNOWFLAKE_ACCOUNT is not set" in note.what


def test_a_key_that_cannot_be_used_is_told_and_not_shown(places: Places, connection: dict[str, str]) -> None:
    found = check("keys", {**connection, "DBT_TARGET": "dev", "SNOWFLAKE_PRIVATE_KEY_PEM": SECRET * 9}, places)

    assert [(where, problem.severity) for where, problem in found.items()] == [("SNOWFLAKE_PRIVATE_KEY_PEM", "error")]
    assert SECRET not in str(list(found.values()))


def test_a_sound_key_is_well_and_a_tenant_on_duckdb_needs_none(places: Places, connection: dict[str, str]) -> None:
    assert check("keys", {**connection, "DBT_TARGET": "prod"}, places) == {}

    write_tenant(places, "warehouse: duckdb\n")
    assert check("keys", {"DBT_TARGET": "prod"}, places) == {}


# ---- Connections: the real connector, against a server that speaks as Snowflake does. ----


def snowflake_refusing(path: str, _: dict[str, Any]) -> tuple[int, Any]:
    if "login-request" not in path:
        return 200, {"success": True}
    return 200, {"success": False, "code": "390144", "message": "JWT token is invalid. [b1c2]", "data": {}}


def snowflake_welcoming(path: str, _: dict[str, Any]) -> tuple[int, Any]:
    if "login-request" not in path:
        return 200, {"success": True, "data": {}}
    session = {"token": "t", "masterToken": "m", "sessionId": 1, "parameters": [], "sessionInfo": {}}
    return 200, {"success": True, "code": None, "message": None, "data": session}


@pytest.fixture
def local_snowflake(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    with canned_http(request.param) as port:
        yield {"SNOWFLAKE_HOST": "127.0.0.1", "SNOWFLAKE_PORT": str(port), "SNOWFLAKE_PROTOCOL": "http"}


@pytest.mark.parametrize("local_snowflake", [snowflake_refusing], indirect=True)
def test_a_login_that_is_refused_is_told_with_who_asked(
    places: Places, connection: dict[str, str], local_snowflake: dict[str, str]
) -> None:
    found = check("connections", {**connection, **local_snowflake, "DBT_TARGET": "prod"}, places)

    [problem] = found.values()
    assert problem.what.startswith(
        "refused the connection of account account, user user, role role, host 127.0.0.1, key SHA256:"
    )
    assert "JWT token is invalid" in problem.what


@pytest.mark.parametrize("local_snowflake", [snowflake_welcoming], indirect=True)
def test_a_login_that_works_is_well(
    places: Places, connection: dict[str, str], local_snowflake: dict[str, str]
) -> None:
    assert check("connections", {**connection, **local_snowflake, "DBT_TARGET": "prod"}, places) == {}


@pytest.mark.parametrize("local_snowflake", [snowflake_refusing], indirect=True)
def test_tenants_that_share_a_connection_are_told_once_and_nobody_connects_on_a_laptop(
    places: Places, connection: dict[str, str], local_snowflake: dict[str, str]
) -> None:
    write_tenant(places, name="cellar")
    environ = {**connection, **local_snowflake}

    assert len(doctor.CHECKS["connections"]({**environ, "DBT_TARGET": "dev"}, places)) == 1
    assert doctor.CHECKS["connections"]({**environ, "DBT_TARGET": "local"}, places) == []


# ---- Dagster's database. ----


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_database_that_cannot_be_reached_is_told_without_its_password(places: Places) -> None:
    url = f"postgresql://apollo:{SECRET}@127.0.0.1:{closed_port()}/dagster"

    [problem] = check("database", {"DAGSTER_PG_URI": url}, places).values()

    assert problem.where == "DAGSTER_PG_URI"
    assert "Connection refused" in problem.what
    assert "127.0.0.1:" in problem.what
    assert SECRET not in str(problem)


def test_no_database_is_noted_and_a_wrong_one_is_the_environments_matter(places: Places) -> None:
    assert check("database", {}, places)["DAGSTER_PG_URI"].severity == "note"
    assert check("database", {"DAGSTER_PG_URI": "nonsense"}, places) == {}
    assert "DAGSTER_PG_URI" in check("environment", {"DAGSTER_PG_URI": "nonsense"}, places)
