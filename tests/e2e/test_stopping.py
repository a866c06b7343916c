"""Stopping `apollo dev` while it works: a signal, an exit code of 0, and a machine as it was before."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.stack import StartStack, bare_environment
from tests.support.tenants import Gate, write_tenant
from tests.support.webserver import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_in_the_middle_of_a_run_ends_it_well_and_leaves_nothing_behind(
    folder: Path, start_stack: StartStack, number: signal.Signals
) -> None:
    gate = Gate(folder / "gate")
    write_tenant(folder / "tenants", "served", {"slow.py": gate.model()})
    write_tenant(folder / "tenants", "not_served", {"first.sql": "select 1 as id"})
    environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(folder / "tenants"))
    stack = start_stack({**environ, "TENANTS": "served"})
    wait_until(lambda: gate.reached, "the run is in the model")
    assert stack.webserver.locations() == {"served": None}
    assert stack.stop(number) == 0
    stack.assert_nothing_is_left()
