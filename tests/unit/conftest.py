"""What the unit tests share: a tenant of this repository, prepared by the real dbt once for all of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagster_apollo.dbt.preparation import prepare
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace, repository_root


@pytest.fixture(scope="session")
def whisky(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """`tenants/dbt_williamgrant` on `local`, its manifest made; workers of one test session share it."""
    root = repository_root()
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    shell = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(base))}
    workspace = open_workspace(shell, Places(root, root / "tenants", Path(shared) / "whisky"), "dbt_williamgrant")
    prepare(workspace)
    return workspace
