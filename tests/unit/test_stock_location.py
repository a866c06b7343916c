"""A location with a server of its own: one that is let go is signalled as its tenant, and not taken for the next."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.code_host.stock_location import StockLocation
from dagster_apollo.code_host.walls import Cell


@pytest.fixture
def signalled() -> list[tuple[int, signal.Signals]]:
    return []


@pytest.fixture
def location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signalled: list[tuple[int, signal.Signals]]
) -> Iterator[StockLocation]:
    started: list[subprocess.Popen[bytes]] = []

    def start(cell: Cell, command: list[str], *_: object, **__: object) -> subprocess.Popen[bytes]:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(command[command.index("--socket") + 1])
        started.append(subprocess.Popen(["sleep", "600"]))
        return started[-1]

    def signal_one(cell: Cell, pid: int, number: signal.Signals) -> None:
        signalled.append((pid, number))

    monkeypatch.setattr("dagster_apollo.code_host.stock_location.start", start)
    monkeypatch.setattr("dagster_apollo.code_host.stock_location.signal_one", signal_one)
    monkeypatch.setattr("dagster_apollo.code_host.stock_location.BACKOFF_SECONDS", (0.0, 0.0))
    made = StockLocation("alpha", Cell("alpha", 20_001, tmp_path), Path("python"), tmp_path, lambda _: None)
    made.want("version", {})
    yield made
    for process in started:
        process.kill()
        process.wait()


def test_it_is_served_by_the_next_once_the_one_that_was_let_go_has_ended(
    location: StockLocation, signalled: list[tuple[int, signal.Signals]]
) -> None:
    loaded: list[str] = []
    location.look_after()
    before, first = location.server_id, location.process
    assert first is not None
    assert location.stock is not None

    location.make_anew(lambda: loaded.append("anew"))
    location.look_after()
    assert signalled == [(first.pid, signal.SIGTERM)]
    assert (location.stock, loaded) == (None, [])

    location.ended(first.pid, 0)
    location.look_after()
    assert location.server_id != before
    assert loaded == ["anew"]


def test_a_link_is_not_taken_for_its_socket(location: StockLocation, tmp_path: Path) -> None:
    location.look_after()
    socket_of_it = location.stock
    assert socket_of_it is not None
    location.stock = None
    socket_of_it.rename(tmp_path / "another.sock")
    socket_of_it.symlink_to(tmp_path / "another.sock")

    location.look_after()

    assert location.stock is None
