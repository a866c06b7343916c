"""A database with Dagster's schema for each test, and an instance on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.support.instances import instance_on
from tests.support.postgres import Postgres


@pytest.fixture(scope="module")
def with_schema(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    database = postgres.new_database()
    with instance_on(database, tmp_path_factory.mktemp("home")):
        return database


@pytest.fixture
def database(postgres: Postgres, with_schema: Postgres) -> Postgres:
    return postgres.new_database(like=with_schema)


@pytest.fixture
def instance(database: Postgres, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_on(database, tmp_path) as made:
        yield made
