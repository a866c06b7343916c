"""A code location in the first process's loop: what hangs is ended, what was written is served, whatever else fails."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.code_host.lines import Line, pair
from dagster_apollo.code_host.processes import Loop, Peer
from dagster_apollo.code_host.served_location import ServedLocation
from dagster_apollo.code_host.snapshots import LIST_REPOSITORIES, read_entry, write_entries
from dagster_apollo.code_host.walls import Cell

NAME = "alpha"


@dataclass
class Zygote:
    """Gives each warm process a line and a number, and no code: a test says what it does.

    Attributes:
        loop: that listens to it.
        warm: its processes, the other ends of their lines beside them.
    """

    loop: Loop
    warm: list[tuple[subprocess.Popen[bytes], Line]] = field(default_factory=list)

    def fork(self, kind: str, name: str, user: int | None, given: object, on_message: Any, on_end: Any) -> Peer:
        ours, theirs = pair()
        process = subprocess.Popen(["sleep", "600"])
        peer = self.loop.add(Peer(name, Line(ours, waits=False), on_message, on_end))
        self.loop.numbered(peer, process.pid)
        self.warm.append((process, Line(theirs, takes_descriptors=True)))
        return peer


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    made = Zygote(Loop())
    yield made
    for process, line in made.warm:
        process.kill()
        process.wait()
        line.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def location(tmp_path: Path, zygote: Zygote, said: list[str]) -> ServedLocation:
    cell = Cell(NAME, None, tmp_path / "own")
    (tmp_path / "snapshots").mkdir()
    made = ServedLocation(NAME, cell, tmp_path / "snapshots", None, False, zygote.loop, zygote, said.append)  # type: ignore[arg-type]
    made.want("version", {})
    made.wants_snapshot = False
    made.make_snapshot()
    return made


def is_ready(zygote: Zygote) -> Line:
    """Have the warm process say that it has loaded."""
    _, line = zygote.warm[-1]
    line.send({"is": "ready", "loaded": True})
    zygote.loop.turn(0.05)
    return line


def served(location: ServedLocation) -> str:
    assert location.snapshot is not None
    return (read_entry(location.snapshot, LIST_REPOSITORIES) or b"").decode(errors="replace")


def test_what_hangs_while_it_is_loaded_is_ended_and_said(
    location: ServedLocation, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    location.awaken(lambda: None, refused.append)
    location.retire_when_idle(60.0)
    assert location.is_loading

    monkeypatch.setattr("dagster_apollo.code_host.served_location.LOADING_SECONDS", 0.0)
    location.retire_when_idle(60.0)

    [(process, _)] = zygote.warm
    assert process.wait(30) == -9
    assert not location.is_loading
    assert refused == ["they were not loaded within 0 s"]
    assert "they were not loaded within 0 s" in served(location)


def test_a_hanging_one_that_is_let_go_does_not_stay(location: ServedLocation, zygote: Zygote) -> None:
    location.make_anew(lambda: None)

    assert zygote.warm[0][0].wait(30) == -9
    assert len(zygote.warm) == 2


def snapshot_fork(line: Line) -> tuple[int, Line]:
    """The file and the line that the warm process was given for the fork that writes a snapshot."""
    message = line.receive()
    assert message is not None
    assert message.fields["do"] == "snapshot"
    file, own = message.descriptors
    return file, Line(socket.socket(fileno=own))


def test_what_was_written_is_served_though_nobody_says_how_its_process_ended(
    location: ServedLocation, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_apollo.code_host.processes._CODE_SECONDS", 0.0)
    file, own = snapshot_fork(is_ready(zygote))
    write_entries(file, {LIST_REPOSITORIES: b"what there is"})
    os.close(file)
    own.send({"is": "written"})
    own.close()
    for _ in range(3):
        zygote.loop.turn(0.05)

    assert served(location) == "what there is"


def test_one_that_cannot_be_written_leaves_what_is_served(
    location: ServedLocation, zygote: Zygote, said: list[str]
) -> None:
    location.folder.rmdir()
    location.folder.touch()  # where a folder was is none: as on a full disk, nothing can be made in it

    is_ready(zygote)

    assert location.snapshot is None
    assert "Not a directory" in said[-1]
    zygote.loop.turn(0.05)


def test_an_end_is_believed_of_its_own_forks_alone(location: ServedLocation, zygote: Zygote) -> None:
    heard: list[Mapping[str, Any]] = []
    ours, theirs = pair()
    anothers = zygote.loop.add(Peer("beta", Line(ours, waits=False), lambda peer, fields: heard.append(fields), print))
    zygote.loop.numbered(anothers, 4_000_010)

    line = is_ready(zygote)
    line.send({"is": "ended", "pid": 4_000_010, "code": 0})
    zygote.loop.turn(0.05)

    assert anothers.code is None
    theirs.close()
