"""What all roles may have open at once is compared with what the server takes, before a role starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import HostError
from dagster_apollo.host.role import wait_for_database
from dagster_apollo.runs.connections import allowed_connections, demand_of, require_connections
from dagster_apollo.settings import read
from tests.support.instances import instance_on
from tests.support.postgres import Postgres, running_postgres

CONFIGURED = repository_root() / "dagster.yaml"
# A server of Render's smallest plans, and every other that nobody changed: 100, of which some are the superuser's.
USUAL = 97


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as running:
        yield running


def url(postgres: Postgres) -> str:
    return str(read({"DAGSTER_PG_URI": postgres.url()}).text("DAGSTER_PG_URI"))


def test_what_ships_fits_on_a_usual_server() -> None:
    demand = demand_of(CONFIGURED)

    assert demand is not None
    assert demand.most <= USUAL


def test_with_what_the_shipped_plan_holds_a_deploy_fits_too() -> None:
    demand = demand_of(CONFIGURED, capacity=8)

    assert demand is not None
    assert demand.most < demand.most_during_deploy <= USUAL


def test_what_the_code_hosts_memory_holds_counts_when_it_is_less(server: Postgres, tmp_path: Path) -> None:
    database = server.new_database()
    (tmp_path / "dagster.yaml").write_text("concurrency: {runs: {max_concurrent_runs: 1000}}")
    with instance_on(database, tmp_path / "home") as instance:
        with pytest.raises(HostError, match="by runs"):
            require_connections(url(database), tmp_path / "dagster.yaml")
        instance.daemon_cursor_storage.set_cursor_values({"apollo_runs_at_once": "2"})

        assert require_connections(url(database), tmp_path / "dagster.yaml") is None


def test_more_runs_or_workers_need_more(tmp_path: Path) -> None:
    def demand(text: str) -> int:
        (tmp_path / "dagster.yaml").write_text(text)
        found = demand_of(tmp_path / "dagster.yaml")
        assert found is not None
        return found.most

    few = demand("concurrency: {runs: {max_concurrent_runs: 1}}\nsensors: {num_workers: 1}")
    assert demand("concurrency: {runs: {max_concurrent_runs: 2}}\nsensors: {num_workers: 1}") > few
    assert demand("concurrency: {runs: {max_concurrent_runs: 1}}\nsensors: {num_workers: 2}") > few
    assert demand("") > few


def test_a_server_that_takes_enough_is_taken(server: Postgres, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("concurrency: {runs: {max_concurrent_runs: 4}}")

    assert require_connections(url(server), tmp_path / "dagster.yaml") is None


def test_a_server_that_takes_too_few_is_refused_before_anything_starts(server: Postgres, tmp_path: Path) -> None:
    with instance_on(server, tmp_path):  # its schema is there: nothing else keeps a role from starting
        pass
    server.stop()
    server.start("max_connections=20")
    try:
        with pytest.raises(HostError) as raised:
            wait_for_database(read({"DAGSTER_PG_URI": server.url()}), lambda line: None)
    finally:
        server.stop()
        server.start()

    told = str(raised.value)
    assert "takes 20 connections" in told
    assert "max_connections" in told
    assert "max_concurrent_runs" in told
    assert server.password not in told


def test_only_a_deploy_that_would_not_fit_is_a_warning(server: Postgres) -> None:
    demand = demand_of(CONFIGURED)
    assert demand is not None
    server.execute(f"alter role {server.user} connection limit {demand.most}")
    try:
        warning = require_connections(url(server), CONFIGURED)
    finally:
        server.execute(f"alter role {server.user} connection limit -1")

    assert warning is not None
    assert warning.severity == "warning"
    assert str(demand.most_during_deploy) in warning.what


def test_runs_without_a_bound_are_a_warning(server: Postgres, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("concurrency: {runs: {max_concurrent_runs: -1}}")
    warning = require_connections(url(server), tmp_path / "dagster.yaml")

    assert warning is not None
    assert "nothing bounds" in warning.what


@pytest.mark.parametrize("limited", ["alter role dagster", "alter database postgres"])
def test_a_limit_of_the_role_or_the_database_counts(server: Postgres, limited: str) -> None:
    server.execute(f"{limited} connection limit 7")
    try:
        assert allowed_connections(url(server)) == 7
    finally:
        server.execute(f"{limited} connection limit -1")
