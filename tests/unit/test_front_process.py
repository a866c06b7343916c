"""The front as the first process knows it: who asked is answered, and not the one that was started after it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from dagster_apollo.code_host.front_process import Front
from dagster_apollo.code_host.lines import Line
from dagster_apollo.code_host.processes import Loop, Say


def test_a_late_answer_does_not_reach_a_front_that_was_started_since(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Line] = []

    def start(command: Sequence[str], **_: Any) -> Any:
        started.append(Line(socket.socket(fileno=os.dup(int(command[-1]))), waits=False))
        return SimpleNamespace(pid=4_000_000 + len(started), returncode=None)

    monkeypatch.setattr("dagster_apollo.code_host.front_process.subprocess.Popen", start)
    monkeypatch.setattr("dagster_apollo.code_host.front_process._AGAIN_SECONDS", 0.0)
    asked: list[tuple[Mapping[str, Any], Say]] = []
    loop = Loop()
    front = Front(loop, "", 0, "", 60.0, None, (), lambda fields, reply: asked.append((fields, reply)), lambda _: None)

    for tenant in ("alpha", "beta"):
        front.look_after()
        loop.turn(0.05)
        line = started[-1]
        assert line.receive()  # what it is told at its start
        line.send({"do": "serve", "location": tenant, "id": 0})
        loop.turn(0.05)
        if tenant == "alpha":
            line.close()
            front.ended(4_000_001, 9)
            loop.turn(0.05)
    for fields, reply in asked:
        reply({"is": "answer", "id": fields["id"], "of": fields["location"]})
    loop.turn(0.05)

    answer = started[-1].receive()
    assert answer is not None
    assert answer.fields["of"] == "beta"
    assert started[-1].receive() is None
