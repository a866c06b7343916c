"""dbt by hand with a tenant's profile, and what makes the second dbt faster than the first: partial parsing."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml

from tests.support.stack import BIN, COMMAND, StartStack, bare_environment, run_to_its_end
from tests.support.tenants import write_tenant

NO_PARTIAL_PARSING = "Unable to do partial parsing"
# A Python model that leaves the profile it is built with, and the directory that it came from, beside the tenants.
SHOWS_ITS_PROFILE = """
import os, pathlib, uuid

def model(dbt, session):
    text = pathlib.Path(os.environ["DBT_PROFILES_DIR"], "profiles.yml").read_text()
    pathlib.Path({folder!r}, uuid.uuid4().hex).write_text(text)
    return session.sql("select 1 as id")
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    (folder / "profiles").mkdir()
    models = {
        "first.sql": "{{ config(materialized='table') }} select 1 as id",
        "broken.sql": "{{ config(materialized='table') }} select * from nowhere",
        "shows.py": SHOWS_ITS_PROFILE.format(folder=str(folder / "profiles")),
    }
    write_tenant(folder / "tenants", "tiny", models)
    return bare_environment(folder, APOLLO_TENANTS_DIR=str(folder / "tenants"))


def test_a_selection_is_built_in_the_tenants_warehouse_and_the_exit_code_is_dbts(
    folder: Path, environ: dict[str, str]
) -> None:
    code, said = _dbt(environ, "run", "--select", "first")
    assert code == 0, said
    with duckdb.connect(str(folder / "state/warehouse/local/tiny.duckdb"), read_only=True) as connection:
        assert connection.sql("select table_schema, table_name from information_schema.tables").fetchall() == [
            ("main", "first")
        ]
    failed, said = _dbt(environ, "run", "--select", "broken")
    assert (failed, "nowhere" in said) == (1, True)
    misused, said = _dbt(environ, "run", "--no-such-option")
    assert (misused, "--no-such-option" in said) == (2, True)


def test_every_dbt_after_the_first_parses_partially_and_has_the_same_profile_to_the_byte(
    folder: Path, environ: dict[str, str], start_stack: StartStack
) -> None:
    first, again = (_dbt(environ, "run", "--select", "shows") for _ in range(2))
    assert (first[0], again[0]) == (0, 0), first[1] + again[1]
    assert NO_PARTIAL_PARSING not in again[1]
    log = (folder / "state/tenants/tiny/by_hand/dbt.log").read_text().rpartition("Running with dbt=")[2]
    assert "Partial parsing enabled, no changes found, skipping parsing" in log
    assert NO_PARTIAL_PARSING not in log

    stack = start_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready()
    runs = [stack.webserver.materialize("tiny", ["tiny/shows"]) for _ in range(2)]
    for run_id in runs:
        stack.webserver.finish(run_id)
        told = _standard_output(folder, run_id)
        assert "Running with dbt=" in told
        assert NO_PARTIAL_PARSING not in told

    profiles = {path.read_text() for path in (folder / "profiles").iterdir()}
    assert len(list((folder / "profiles").iterdir())) == 4
    [profile] = profiles
    assert yaml.safe_load(profile)["tiny"]["outputs"]["local"]["type"] == "duckdb"


def _dbt(environ: dict[str, str], *words: str) -> tuple[int, str]:
    return run_to_its_end([str(BIN / "apollo"), "dbt", "tiny", "--", *words], environ)


def _standard_output(folder: Path, run_id: str) -> str:
    """What a run's processes printed: Dagster keeps it below its home."""
    return "\n".join(path.read_text() for path in (folder / "home").rglob("*.out") if run_id in str(path))
