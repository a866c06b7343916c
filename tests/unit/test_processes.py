"""What becomes of a stack when one of its children ends, and how each is asked to end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.errors import HostError
from dagster_apollo.host.processes import Process, ProcessGroup
from tests.support.webserver import wait_until


@pytest.fixture
def group(tmp_path: Path) -> Iterator[ProcessGroup]:
    with ProcessGroup(tmp_path / "logs") as running:
        yield running


def start(group: ProcessGroup, name: str, program: str, **options: object) -> Process:
    environ = {"PATH": os.environ["PATH"]}
    return group.start(name, [sys.executable, "-c", program], environ, group.log_dir, **options)  # type: ignore[arg-type]


def test_a_needed_child_that_ends_ends_the_stack_with_its_last_words(group: ProcessGroup) -> None:
    child = start(group, "daemon", "print('no database'); raise SystemExit(3)")
    child.popen.wait()

    with pytest.raises(HostError, match=r"daemon: ended with exit code 3; its last words:\n    no database"):
        group.require_running()


def test_a_child_that_is_not_needed_is_told_of_once_and_the_others_go_on(group: ProcessGroup) -> None:
    start(group, "webserver", "import time; time.sleep(600)")
    lost = start(group, "code-shop", "print('no disk'); raise SystemExit(1)", needed=False)
    lost.popen.wait()

    group.require_running()
    [error] = group.lost()

    assert "code-shop: ended with exit code 1" in str(error)
    assert "no disk" in str(error)
    assert group.ended() == {"code-shop"}
    assert group.lost() == []


def test_a_child_is_asked_to_end_by_its_own_signal(group: ProcessGroup) -> None:
    said = group.log_dir / "said"
    program = (
        "import pathlib, signal, sys, time\n"
        "def end(number, frame):\n"
        f"    pathlib.Path({str(said)!r}).write_text(signal.Signals(number).name)\n"
        "    sys.exit()\n"
        "for name in ('SIGINT', 'SIGTERM'):\n"
        "    signal.signal(getattr(signal, name), end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    child = start(group, "postgres", program, stop_signal=signal.SIGINT)
    wait_until(lambda: "ready" in child.log.read_text(), "it listens to signals")

    group.stop()

    assert said.read_text() == "SIGINT"
    assert not child.runs()
