"""What each tenant has for itself: a user and a folder, which others joining or leaving do not change."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from dagster_apollo.code_host.walls import Cell, assign, make_folders, make_snapshots_folder, signal_one

STATE = Path("/state")


def cells(*names: str, as_root: bool = True) -> dict[str, Cell]:
    return {cell.name: cell for cell in assign(names, STATE, as_root=as_root)}


def test_a_tenant_keeps_its_user_when_others_come() -> None:
    alone = cells("riksdag")["riksdag"]

    assert cells("bioreactor", "kaizen_wars", "makerates", "riksdag", "zebra")["riksdag"] == alone
    assert alone.folder == STATE / "tenants" / "riksdag"


def test_no_two_tenants_share_anything() -> None:
    many = cells(*(f"tenant_{number}" for number in range(500)))

    assert len({cell.user for cell in many.values()}) == len({cell.folder for cell in many.values()}) == 500
    assert all(20_000 <= (cell.user or 0) < 60_000 for cell in many.values())


def test_who_is_not_root_gives_nobody_a_user() -> None:
    cell = cells("riksdag", as_root=False)["riksdag"]

    assert cell.user is None
    assert cell.identity == {}


def test_folders_are_closed_to_others_also_where_nobody_has_a_user(tmp_path: Path) -> None:
    made = assign(("one", "two"), tmp_path / "state", as_root=False)

    assert make_folders(made, tmp_path / "state") == {}
    assert [oct(cell.folder.stat().st_mode & 0o777) for cell in made] == ["0o700", "0o700"]
    assert make_folders(made, tmp_path / "state") == {}


def test_a_shell_that_a_tenant_stops_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def stopped(words: list[str], **more: object) -> subprocess.Popen[bytes]:
        """Where the shell would be, a process that stops itself."""
        assert words[0] == "/bin/sh"
        more = {name: value for name, value in more.items() if name not in ("user", "group", "extra_groups")}
        started.append(real(["/bin/sh", "-c", "kill -s STOP $$"], **more))  # type: ignore[call-overload]
        return started[-1]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", stopped)
    signal_one(Cell("alpha", 20_000, tmp_path), 1, signal.SIGTERM)

    assert started[0].poll() is None
    started[0].kill()
    started[0].wait()


def test_one_process_is_signalled_and_its_group_by_a_number_below_zero(tmp_path: Path) -> None:
    cell = Cell("alpha", None, tmp_path)
    words = ["/bin/sh", "-c", "sleep 600 & wait"]
    with subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE) as process:
        signal_one(cell, -process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        assert process.stdout is not None
        assert process.stdout.read() == b""  # what it started held the pipe, and is gone too
    signal_one(cell, process.pid, signal.SIGKILL)  # of one that is gone nothing is made


def test_snapshots_are_kept_from_start_to_start_but_those_that_may_have_been_wrong(tmp_path: Path) -> None:
    folder = make_snapshots_folder(tmp_path, "alpha", None)
    for name in ("one.zip", "two.passing.zip", ".three.1"):
        (folder / name).touch()

    assert make_snapshots_folder(tmp_path, "alpha", None) == folder
    assert [file.name for file in folder.iterdir()] == ["one.zip"]
    assert folder.stat().st_mode & 0o007 == 0
