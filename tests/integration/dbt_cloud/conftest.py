"""dbt Cloud with a project of its own for the tests of a module, each of which finds it well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cloud_shop import write_project
from tests.support.dbt_cloud import DbtCloud, running_dbt_cloud


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def running(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbtCloud]:
    with running_dbt_cloud(project, tmp_path_factory.mktemp("cloud")) as started:
        yield started


@pytest.fixture
def cloud(running: DbtCloud) -> Iterator[DbtCloud]:
    yield running
    running.be()
