"""The database's schema: made by `apollo migrate` once, whoever asks, and waited for by everybody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from dagster_postgres import run_storage
from dagster_postgres.utils import pg_alembic_config

from dagster_apollo.host.schema import schema_of
from dagster_apollo.settings import read
from tests.support.postgres import Postgres, running_postgres
from tests.support.roles import Roles, roles_of

pytestmark = pytest.mark.slow


@pytest.fixture
def empty() -> Iterator[Postgres]:
    """A database of this test's own: what is in it is the test's subject."""
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture
def roles(folder: Path, empty: Postgres) -> Iterator[Roles]:
    (folder / "tenants").mkdir()
    with roles_of(folder, empty) as made:
        yield made


def url(postgres: Postgres) -> str:
    return str(read({"DAGSTER_PG_URI": postgres.url()}).text("DAGSTER_PG_URI"))


def test_several_at_once_make_one_schema_and_again_changes_nothing(roles: Roles, empty: Postgres) -> None:
    assert not schema_of(url(empty)).serves
    together = [roles.start("migrate") for _ in range(3)]
    assert [process.wait(120) for process in together] == [0, 0, 0]

    assert schema_of(url(empty)).serves
    assert roles.said("migrate").count("making the tables") == 1
    assert roles.said("migrate").count("is current") == 2
    [(identity,)] = empty.rows("select run_storage_id from instance_info")
    assert roles.start("migrate").wait(60) == 0
    assert empty.rows("select run_storage_id from instance_info") == [(identity,)]
    assert empty.password not in roles.said("migrate")


def test_a_database_that_a_later_version_has_migrated_is_let_be(roles: Roles, empty: Postgres) -> None:
    assert roles.start("migrate").wait(60) == 0
    empty.rows("update alembic_version set version_num = 'of_the_future' returning 1")

    assert schema_of(url(empty)).is_newer
    assert schema_of(url(empty)).serves
    assert roles.start("migrate").wait(60) == 0
    assert "ahead of this version" in roles.said("migrate")
    assert empty.rows("select version_num from alembic_version") == [("of_the_future",)]


def test_a_database_of_an_earlier_version_is_brought_up_to_date(roles: Roles, empty: Postgres) -> None:
    assert roles.start("migrate").wait(60) == 0
    [(head,)] = empty.rows("select version_num from alembic_version")
    scripts = ScriptDirectory.from_config(pg_alembic_config(str(run_storage.__file__)))
    earlier = scripts.get_revision(head).down_revision
    empty.rows(f"update alembic_version set version_num = '{earlier}' returning 1")

    assert not schema_of(url(empty)).serves
    assert roles.start("migrate").wait(60) == 0
    assert empty.rows("select version_num from alembic_version") == [(head,)]
    assert f"from {earlier} to {head}" in roles.said("migrate")


@pytest.mark.parametrize("role", ["code", "daemon", "webserver"])
def test_a_role_waits_for_the_schema_and_says_for_what(roles: Roles, role: str) -> None:
    started = roles.start(role, APOLLO_WAIT_SECONDS="1")

    assert started.wait(60) == 1
    assert "waiting for the database" in roles.said(role)
    assert "apollo migrate" in roles.said(role)
    assert "Traceback" not in roles.said(role)


@pytest.mark.parametrize("role", ["code", "daemon"])
def test_a_role_that_waits_lives_and_ends_when_told(roles: Roles, role: str) -> None:
    roles.start(role)
    roles.wait_until(lambda: "waiting for the database" in roles.said(role), "it waits")

    assert roles.alive(role) == 0
    before = time.monotonic()
    assert roles.stop(role) == 0
    assert time.monotonic() - before < 30


@pytest.mark.parametrize("role", ["code", "daemon", "webserver", "migrate"])
def test_in_a_container_nothing_starts_without_the_database(roles: Roles, role: str) -> None:
    started = roles.start(role, APOLLO_CONTAINER="true", DAGSTER_PG_URI="")

    assert started.wait(60) == 1
    assert "DAGSTER_PG_URI: is not set" in roles.said(role)
