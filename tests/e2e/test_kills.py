"""Whatever is killed, and whenever: every run comes to its end, every model is built once, and nobody has to come.

`SEED=n` repeats the choices of another time; which moment of a run they meet is not repeated.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.chains import Chains, patiently
from tests.support.platform_with_kills import Platform
from tests.support.postgres import DURABLE, running_postgres
from tests.support.slow_tenants import OnPostgres, OnSnowflake
from tests.support.snowflake_account import running_account
from tests.support.walled import WalledRoles, walled_roles
from tests.support.webserver import FINAL

pytestmark = pytest.mark.slow

KINDS = ("daemon", "code host", "Postgres", "front", "zygote", "tenant's process", "run", "dbt")
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
# Between what was done last and the next kill, in seconds.
PAUSE_SECONDS = (0.2, 5.0)
FIND_SECONDS = 120.0
END_SECONDS = 420.0


@dataclass(frozen=True)
class Kill:
    """What was killed.

    Attributes:
        at: in seconds, from the first kill on.
        what: of `KINDS`.
        number: the signal.
        told: which process it was, or how it ended.
        runs: the runs that were there, by tenant.
    """

    at: float
    what: str
    number: signal.Signals
    told: str
    runs: dict[str, str]


@pytest.fixture
def tenants(folder: Path) -> Iterator[list[OnPostgres | OnSnowflake]]:
    """One in a Postgres of its own, one in the local Snowflake."""
    (folder / "snowflake").mkdir()
    with running_postgres() as server, running_account(folder / "snowflake") as account:
        yield [OnPostgres(server), OnSnowflake(account)]


@pytest.fixture
def roles(folder: Path, tenants: list[OnPostgres | OnSnowflake]) -> Iterator[WalledRoles]:
    variables = {name: text for tenant in tenants for name, text in tenant.variables.items()}
    # A run in flight has some seconds, so that some end in them and some do not.
    with (
        running_postgres(*DURABLE) as instance,
        walled_roles(folder, instance, {**variables, "APOLLO_DRAIN_SECONDS": "12"}) as made,
    ):
        for tenant in tenants:
            tenant.write(made.tenants_dir)
        made.begin()
        yield made


def go_on(chains: list[Chains], seconds: float, *, begin: bool = True) -> None:
    end = time.monotonic() + seconds
    while True:
        for each in chains:
            each.go_on(begin=begin)
        if time.monotonic() > end or not (begin or any(each.current for each in chains)):
            return
        time.sleep(0.3)


def victim(platform: Platform, chains: list[Chains], what: str) -> psutil.Process:
    """One of a kind, as soon as there is one."""
    end = time.monotonic() + FIND_SECONDS
    while (found := platform.find(what)) is None:
        assert time.monotonic() < end, f"there is no {what} to kill\n{platform.roles.logs}"
        go_on(chains, 0.0)
        time.sleep(platform.chance.uniform(0.0, 0.3))
    return found


def what_became_of(runs: list[dict[str, Any]], run_id: str) -> str:
    run = next(run for run in runs if run["runId"] == run_id)
    marked = run["tags"].get("apollo/interrupted") or run["tags"].get("dagster/failure_reason") or ""
    after = next((other["runId"] for other in runs if other["parentRunId"] == run_id), "")
    return " ".join(filter(None, [run_id[:8], run["status"], marked and f"({marked})", after and f"→ {after[:8]}"]))


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_every_run_is_brought_to_its_end(
    roles: WalledRoles, tenants: list[OnPostgres | OnSnowflake], times: int
) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    chance = random.Random(seed)
    platform = Platform(roles, tuple(tenant.name for tenant in tenants), chance)
    chains = [Chains(tenant, roles.webserver) for tenant in tenants]
    go_on(chains, 0.0)
    go_on(chains, END_SECONDS, begin=False)  # the ones that nobody disturbs
    assert [len(each.done) for each in chains] == [1, 1], roles.logs

    kills: list[Kill] = []
    began = time.monotonic()
    try:
        order: list[str] = []
        for _ in range(times):
            order = order or chance.sample(KINDS, len(KINDS))
            what, number = order.pop(), chance.choice(SIGNALS)
            go_on(chains, chance.uniform(*PAUSE_SECONDS))
            told = None
            while told is None:
                process = None if what in platform.services else victim(platform, chains, what)
                runs = {each.tenant.name: each.last_run for each in chains}
                at = time.monotonic() - began
                told = platform.kill(process, number) if process else platform.services[what](number)
            kills.append(Kill(at, what, number, told, {name: run_id for name, run_id in runs.items() if run_id}))
        go_on(chains, END_SECONDS, begin=False)
        runs_of_all = patiently(roles.webserver.runs)
        assert [each.current for each in chains] == [None, None], roles.logs
        assert [run for run in runs_of_all if run["status"] not in FINAL] == []
        roles.wait_until(lambda: platform.find("run") is None, "no process of a run is left")
    finally:
        tell(seed, kills, roles, chains)


def tell(seed: int, kills: list[Kill], roles: WalledRoles, chains: list[Chains]) -> None:
    """The table of what was killed, and what happened."""
    runs = patiently(roles.webserver.runs)
    lines = [f"SEED={seed}", f"{'at':>6}  {'what':<17} {'signal':<8} {'':<16} the runs that there were"]
    for kill in kills:
        became = "; ".join(f"{name}: {what_became_of(runs, run_id)}" for name, run_id in kill.runs.items())
        lines.append(f"{kill.at:6.1f}  {kill.what:<17} {kill.number.name:<8} {kill.told:<16} {became}")
    for each in chains:
        took = ", ".join(f"{len(found)} in {_seconds(found):.0f} s" for _, found in each.done)
        lines.append(f"{each.tenant.name}: {len(each.done)} runs were asked for and ended well; their attempts: {took}")
    sys.stdout.write("\n".join(lines) + "\n")


def _seconds(attempts: list[dict[str, Any]]) -> float:
    return float(attempts[-1]["endTime"] - (attempts[0]["startTime"] or attempts[0]["endTime"]))
