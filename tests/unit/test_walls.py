"""What each tenant has for itself: a user, a port and a folder, which others joining or leaving do not change."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from dagster_apollo.errors import HostError
from dagster_apollo.host.walls import Cell, assign, make_folders, send

STATE = Path("/state")


def cells(*names: str, as_root: bool = True, taken: frozenset[int] = frozenset()) -> dict[str, Cell]:
    found = assign(names, STATE, 4001, as_root=as_root, is_free=lambda port: port not in taken)
    return {cell.name: cell for cell in found}


def test_a_tenant_keeps_its_user_and_port_when_others_come() -> None:
    alone = cells("riksdag")["riksdag"]

    assert cells("bioreactor", "kaizen_wars", "makerates", "riksdag", "zebra")["riksdag"] == alone
    assert alone.folder == STATE / "tenants" / "riksdag"


def test_no_two_tenants_share_anything() -> None:
    many = cells(*(f"tenant_{number}" for number in range(500)))

    assert len({cell.user for cell in many.values()}) == 500
    assert len({cell.port for cell in many.values()}) == 500
    assert all(20_000 <= (cell.user or 0) < 60_000 for cell in many.values())
    assert all(4001 <= cell.port < 10_000 for cell in many.values())


def test_a_port_that_is_taken_is_passed_over() -> None:
    port = cells("riksdag")["riksdag"].port

    assert cells("riksdag", taken=frozenset({port}))["riksdag"].port == port + 1


def test_who_is_not_root_gives_nobody_a_user() -> None:
    cell = cells("riksdag", as_root=False)["riksdag"]

    assert cell.user is None
    assert cell.identity == {}


def test_more_tenants_than_ports_are_refused() -> None:
    with pytest.raises(HostError, match="Serve fewer tenants"):
        assign(["one", "two"], STATE, 65_535, as_root=False, is_free=lambda port: True)


def test_folders_are_closed_to_others_also_where_nobody_has_a_user(tmp_path: Path) -> None:
    made = assign(["one", "two"], tmp_path / "state", 4001, as_root=False, is_free=lambda port: True)

    assert make_folders(made, tmp_path / "state") == {}
    assert [oct(cell.folder.stat().st_mode & 0o777) for cell in made] == ["0o700", "0o700"]
    assert make_folders(made, tmp_path / "state") == {}


def test_a_shell_that_a_tenant_stops_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def stopped(words: list[str], **more: object) -> subprocess.Popen[bytes]:
        """Where the shell would be, a process that stops itself: signals to `-1` are not for a test."""
        assert words[0] == "/bin/sh"
        more = {name: value for name, value in more.items() if name not in ("user", "group", "extra_groups")}
        started.append(real(["/bin/sh", "-c", "kill -s STOP $$"], **more))  # type: ignore[call-overload]
        return started[-1]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", stopped)
    send(Cell("alpha", 20_000, 4001, tmp_path), 0, signal.SIGTERM)

    assert started[0].poll() is None
    started[0].kill()
    started[0].wait()
