"""What the code host's wait for the database comes to, also when what waits is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from dagster_apollo.code_host.database_wait import DatabaseWait
from dagster_apollo.settings import read
from tests.support.instances import migrated
from tests.support.ports import free_port
from tests.support.postgres import Postgres


@pytest.fixture
def nowhere() -> dict[str, str]:
    """A database that nobody serves, which is waited for for a minute."""
    return {
        "DAGSTER_PG_URI": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
        "APOLLO_WAIT_SECONDS": "60",
        "PATH": os.environ["PATH"],
    }


def begin(environ: dict[str, str]) -> DatabaseWait:
    return DatabaseWait(environ, read(environ), 3)


def reap(wait: DatabaseWait, timeout_seconds: float = 60.0) -> None:
    """Tell a wait of the end of its process, as the code host's loop does."""
    assert wait.pid is not None
    end = time.monotonic() + timeout_seconds
    while (ended := os.waitpid(wait.pid, os.WNOHANG))[0] == 0:
        assert time.monotonic() < end, "it waits on"
        time.sleep(0.05)
    assert not wait.ended(ended[0] + 1, ended[1])
    assert wait.ended(*ended)


@pytest.fixture
def environ(postgres: Postgres, tmp_path: Path) -> dict[str, str]:
    """Of a database that has its schema."""
    return {**migrated(postgres, tmp_path / "home"), "PATH": os.environ["PATH"]}


def test_on_sqlite_there_is_nothing_to_wait_for() -> None:
    for uri in ({}, {"DAGSTER_PG_URI": ""}, {"DAGSTER_PG_URI": "  "}):
        wait = begin(uri)

        assert wait.instance == ""
        assert wait.problem is None


def test_it_comes_to_the_instances_id_and_those_who_launch_are_told(
    environ: dict[str, str], postgres: Postgres
) -> None:
    wait = begin(environ)
    assert wait.instance is None
    reap(wait)

    [(identity,)] = postgres.rows("select run_storage_id from instance_info")
    assert wait.instance == identity
    assert wait.problem is None
    assert postgres.rows("select value from kvs where key = 'apollo_runs_at_once'") == [("3",)]


def test_a_database_that_does_not_come_is_a_problem_that_says_what_was_waited_for(nowhere: dict[str, str]) -> None:
    wait = begin({**nowhere, "APOLLO_WAIT_SECONDS": "0"})
    reap(wait)

    assert wait.instance is None
    assert wait.problem is not None
    assert "waited 0 s for the database" in wait.problem.what
    assert "apollo migrate" in wait.problem.remedy


def test_a_wait_that_is_killed_is_a_problem_too(nowhere: dict[str, str]) -> None:
    wait = begin(nowhere)
    assert wait.pid is not None
    os.kill(wait.pid, signal.SIGKILL)
    reap(wait)

    assert wait.instance is None
    assert wait.problem is not None
    assert "ended with -9" in wait.problem.what


def test_one_that_is_told_to_end_is_none(nowhere: dict[str, str]) -> None:
    wait = begin(nowhere)
    wait.stop()
    reap(wait)

    assert wait.problem is None
    assert wait.pid is None


def test_an_instance_that_has_lost_its_id_is_given_one_by_migrate(
    environ: dict[str, str], postgres: Postgres, tmp_path: Path
) -> None:
    postgres.execute("delete from instance_info")
    wait = begin(environ)
    reap(wait)
    assert wait.problem is not None
    assert "has no id" in wait.problem.what

    migrated(postgres, tmp_path / "home")

    wait = begin(environ)
    reap(wait)
    assert wait.instance
