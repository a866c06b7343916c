"""Two daemons on one database, as a platform has them during a deploy: one acts, and what is queued is run once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import write_tenant

pytestmark = pytest.mark.slow

RUNS = 20
AT_ONCE = 2
# Nothing is executed before all of it is queued.
SAYING = """\
import pathlib
import time

import dagster as dg

FOLDER = pathlib.Path({folder!r})


@dg.asset(key_prefix="alpha")
def counted(context) -> None:
    while not (FOLDER / "open").exists():
        time.sleep(0.05)
    time.sleep({seconds})
    with (FOLDER / "executed").open("a") as file:
        file.write(context.run.run_id + "\\n")


defs = dg.Definitions(assets=[counted])
"""


@pytest.fixture
def roles(folder: Path, postgres: Postgres) -> Iterator[Roles]:
    with roles_of(folder, postgres.new_database()) as made:
        (folder / "executed").touch()
        (folder / "executed").chmod(0o666)
        yield made


@pytest.fixture
def other(roles: Roles) -> Iterator[Roles]:
    """The daemon of the next version, with folders of its own."""
    folder = roles.folder / "next"
    folder.mkdir()
    with roles_of(folder, roles.postgres) as made:
        yield replace(made, ports=roles.ports, tokens=roles.tokens, running=made.running)


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(1.0, id="for some seconds"),
        pytest.param(60.0, id="for a minute", marks=pytest.mark.soak),
    ],
)
def test_what_is_queued_is_executed_once(roles: Roles, other: Roles, seconds: float) -> None:
    saying = SAYING.format(folder=str(roles.folder), seconds=seconds * AT_ONCE / RUNS)
    write_tenant(roles.tenants_dir, "alpha", {"first.sql": "select 1 as id", "definitions.py": saying})
    # Few at once, so that most of them wait for a daemon.
    roles.start_all(APOLLO_MAX_RUNS=str(AT_ONCE))
    other.start("daemon")
    other.wait_until(lambda: "this one waits" in other.said("daemon"), "the second one waits")
    launched = {roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/counted"]) for _ in range(RUNS)}
    assert [run["status"] for run in roles.webserver.runs()].count("QUEUED") == RUNS - AT_ONCE
    began = time.monotonic()
    (roles.folder / "open").touch()
    executed = roles.folder / "executed"
    roles.wait_until(lambda: len(executed.read_text().splitlines()) >= RUNS // 4, "they are executed")

    # The old one is killed in the middle, as a platform does that lost patience.
    assert roles.stop("daemon", signal.SIGKILL) == -signal.SIGKILL
    other.wait_until(lambda: "the daemon is at work" in other.said("daemon"), "the second one acts")
    roles.start("daemon")
    for run_id in launched:
        roles.webserver.finish(run_id)
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))

    assert sorted(executed.read_text().split()) == sorted(launched)
    assert len(roles.webserver.runs()) == RUNS
    assert "the daemon is at work" not in roles.said("daemon").partition("this one waits")[2]
