"""Dagster's instance in the test's own process, on a real Postgres, made and configured as production makes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from dagster import DagsterInstance

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.host.instance import lay_home
from dagster_apollo.host.migration import make_storage
from tests.support.postgres import Postgres


def migrated(postgres: Postgres, folder: Path) -> dict[str, str]:
    """The variables of a database's instance, whose schema is made where it is not there.

    Args:
        folder: becomes DAGSTER_HOME.
    """
    variables = {"DAGSTER_HOME": str(folder), "DAGSTER_PG_URI": postgres.url()}
    with mock.patch.dict(os.environ):
        make_storage(variables, lay_home(variables, repository_root()), lambda line: None)
    return variables


@contextmanager
def instance_on(postgres: Postgres, folder: Path) -> Iterator[DagsterInstance]:
    """The instance of a database, whose schema is made where it is not there.

    Args:
        folder: becomes DAGSTER_HOME.
    """
    variables = migrated(postgres, folder)
    with mock.patch.dict(os.environ, variables):
        home = lay_home(variables, repository_root())
        with DagsterInstance.from_config(str(home)) as instance:
            yield instance
