"""The process beside a run that forks its dbt, one for each invocation, from a state that has parsed the project.

It is forked from the run before the run has a thread or a connection, and does nothing but fork, wait and signal. With
the run it ends, however the run does, takes its dbt along and removes what dbt has written for the run. What a run asks
it is `dbt_forks.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_apollo.warm.forking import fork

# What a run writes to have its dbt signalled.
INTERRUPT, KILL = b"i", b"k"
# A dbt whose run is gone has this long, in seconds, to cancel its queries.
ABANDONED_SECONDS = 5
_REQUEST_SECONDS = 10.0
_LENGTH = struct.Struct("!Q")
# Linux: what a dbt starts itself must not hold its pipe.
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


@dataclass(frozen=True)
class Request:
    """One dbt that is asked for.

    Attributes:
        words: the command and its arguments.
        environment: all of its variables.
        folder: where it runs.
        parsed: it builds from what the parent has parsed.
    """

    words: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    parsed: bool

    def to_json(self) -> bytes:
        return json.dumps({**vars(self), "folder": str(self.folder)}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Request:
        document: dict[str, Any] = json.loads(content)
        return cls(**{**document, "folder": Path(document["folder"])})


def serve(asked: socket.socket, be_dbt: Callable[[Request, int], int], *, keeps_targets: bool = False) -> int:
    """Fork what is asked for until the run is gone.

    Args:
        asked: brings two descriptors for each dbt: the pipe that it prints to, and the socket over which the request
            comes, then signals, and the exit code goes.
        be_dbt: what a fork does, given the pipe.
        keeps_targets: what dbt has written is wanted afterwards.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # what the run is told, it tells us
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    targets: set[str] = set()
    while True:
        heard = [talk for talk in running.values() if talk.fileno() >= 0]
        readable, _, _ = select.select([asked, woken, *heard], [], [])
        if woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
        for pid, talk in running.items():
            if talk in readable:
                _signal(pid, talk)
        _reap(running)
        if asked in readable:
            _, descriptors, _, _ = socket.recv_fds(asked, 1, 2, _CLOSE_ON_EXEC)
            if len(descriptors) < 2:
                break
            talk = socket.socket(fileno=descriptors[1])
            if request := _start(descriptors[0], talk, running, [asked, *running.values()], be_dbt):
                targets.add(request.environment["DBT_TARGET_PATH"])
    _end(running)
    for target in () if keeps_targets else targets:  # a run that was killed has not
        shutil.rmtree(target, ignore_errors=True)
    return 0


def ask(asked: socket.socket, request: Request, output: int) -> socket.socket:
    """In the run: have a dbt forked.

    Args:
        asked: to the dbt parent.
        request: what it is to do.
        output: the end of a pipe that it prints to; still to be closed here.

    Returns:
        What signals are written to, and the exit code comes from.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(asked, [b"d"], [output, theirs.fileno()])
    content = request.to_json()
    ours.sendall(_LENGTH.pack(len(content)) + content)
    return ours


def _start(
    output: int,
    talk: socket.socket,
    running: dict[int, socket.socket],
    held: Sequence[socket.socket],
    be_dbt: Callable[[Request, int], int],
) -> Request | None:
    try:
        talk.settimeout(_REQUEST_SECONDS)
        (length,) = _LENGTH.unpack(_received(talk, _LENGTH.size))
        request = Request.from_json(_received(talk, length))

        def child() -> int:
            for descriptor in (*held, talk):
                descriptor.close()
            return be_dbt(request, output)

        running[fork(child)] = talk
        return request
    except (OSError, ValueError, struct.error):  # the run is gone, or there is no memory: it hears that nothing started
        talk.close()
        return None
    finally:
        os.close(output)


def _received(talk: socket.socket, length: int) -> bytes:
    """As many bytes; fewer where the run is gone. A request may be larger than a socket holds."""
    content = bytearray()
    while len(content) < length and (more := talk.recv(length - len(content))):
        content += more
    return bytes(content)


def _signal(pid: int, talk: socket.socket) -> None:
    """Pass on what the run says; of one that says no more the line is closed."""
    told = b""
    with contextlib.suppress(OSError):
        told = talk.recv(1)
    if told:
        os.kill(pid, signal.SIGINT if told == INTERRUPT else signal.SIGKILL)  # not reaped yet: it is still ours
    else:
        talk.close()


def _reap(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as talk, contextlib.suppress(OSError):
                talk.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _end(running: dict[int, socket.socket]) -> None:
    """The run is gone, or has no more use for dbt: whatever still builds is told so, then killed."""
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + ABANDONED_SECONDS
    while running and time.monotonic() < deadline:
        time.sleep(0.01)
        _reap(running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
