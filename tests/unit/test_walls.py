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
    alone = {name: [name] for name in names}
    found = assign(alone, STATE, 4001, as_root=as_root, is_free=lambda port: port not in taken)
    return {cell.name: cell for cell in found}


def test_a_tenant_keeps_its_user_and_port_when_others_come() -> None:
    alone = cells("riksdag")["riksdag"]

    assert cells("bioreactor", "kaizen_wars", "makerates", "riksdag", "zebra")["riksdag"] == alone
    assert alone.folder == STATE / "tenants" / "riksdag"


def test_no_two_tenants_share_anything() -> None:
    many = cells(*(f"tenant_{number}" for number in range(500)))

    assert len({cell.user for cell in many.values()}) == 500
    assert len({cell.ports[name] for name, cell in many.items()}) == 500
    assert all(20_000 <= (cell.user or 0) < 60_000 for cell in many.values())
    assert all(4001 <= cell.ports[name] < 10_000 for name, cell in many.items())


def test_a_port_that_is_taken_is_passed_over() -> None:
    port = cells("riksdag")["riksdag"].ports["riksdag"]

    assert cells("riksdag", taken=frozenset({port}))["riksdag"].ports["riksdag"] == port + 1


def test_the_locations_of_one_tenant_share_all_but_the_port() -> None:
    several = {"kaizen": ["kaizen__ingestion", "kaizen__dbt"], "riksdag": ["riksdag"]}
    found = assign(several, STATE, 4001, as_root=True, is_free=lambda port: True)

    assert [cell.name for cell in found] == ["kaizen", "riksdag"]
    assert list(found[0].ports) == ["kaizen__ingestion", "kaizen__dbt"]
    assert len({*found[0].ports.values(), *found[1].ports.values()}) == 3
    assert found[1] == cells("riksdag")["riksdag"]


def test_who_is_not_root_gives_nobody_a_user() -> None:
    cell = cells("riksdag", as_root=False)["riksdag"]

    assert cell.user is None
    assert cell.identity == {}


def test_more_tenants_than_ports_are_refused() -> None:
    with pytest.raises(HostError, match="Serve fewer tenants"):
        assign({"one": ["one"], "two": ["two"]}, STATE, 65_535, as_root=False, is_free=lambda port: True)


def test_folders_are_closed_to_others_also_where_nobody_has_a_user(tmp_path: Path) -> None:
    both = {"one": ["one"], "two": ["two"]}
    made = assign(both, tmp_path / "state", 4001, as_root=False, is_free=lambda port: True)

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
    send(Cell("alpha", 20_000, {"alpha": 4001}, tmp_path), 0, signal.SIGTERM)

    assert started[0].poll() is None
    started[0].kill()
    started[0].wait()
