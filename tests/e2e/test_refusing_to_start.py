"""`apollo dev` starts nothing on settings that are everybody's and wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tenant_folders import TenantFolders


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DBT_TARGET": "staging"}, "DBT_TARGET: 'staging' is not one of local, dev, prod"),
        ({"DBT_THREADS": "many", "PORT": "x"}, "DBT_THREADS: 'many' is not a whole number"),
        ({"DAGSTER_PG_URI": "mysql://u:hunter2@h/db"}, "DAGSTER_PG_URI"),
        ({"DBT_TARGET": "dev", "SNOWFLAKE_PRIVATE_KEY_B64": "hunter2"}, "SNOWFLAKE_PRIVATE_KEY_B64"),
        ({"DBT_TARGET": "prod", "TENANTS": "acme"}, "DAGSTER_PG_URI: is not set, and acme would build"),
        ({"TENANTS": "nobody"}, "nobody: no such folder"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_started(tmp_path: Path, variables: dict[str, str], named: str) -> None:
    folders = TenantFolders(tmp_path)
    folders.write("acme", {"models/one.sql": "select 1 as id"})
    ended = folders.apollo("dev", **variables)
    assert ended.returncode == 1
    assert named in ended.stderr
    assert "hunter2" not in ended.stderr + ended.stdout
    assert "serving on" not in ended.stdout
    assert not (folders.state_dir / "logs").exists()
