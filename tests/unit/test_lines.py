"""Messages between the code host's processes: whole, with their descriptors, and nothing of a hostile other side."""

from __future__ import annotations

import os
import socket

import pytest

from dagster_apollo.code_host.lines import Line, LineClosed, pair


def test_what_is_said_comes_whole_and_in_order() -> None:
    ours, theirs = pair()
    said, heard = Line(ours), Line(theirs)
    said.send({"number": 1})
    said.send({"text": "ü" * 50_000})

    messages = [heard.receive(), heard.receive()]
    assert [message and dict(message.fields) for message in messages] == [{"number": 1}, {"text": "ü" * 50_000}]


def test_descriptors_come_with_their_message_and_stay_the_senders() -> None:
    ours, theirs = pair()
    said, heard = Line(ours), Line(theirs, takes_descriptors=True)
    read, write = os.pipe()
    said.send({"of": "none"})
    said.send({"of": "a pipe"}, [write])
    os.close(write)

    first, second = heard.receive(), heard.receive()
    assert first is not None
    assert second is not None
    assert first.descriptors == ()
    [brought] = second.descriptors
    os.write(brought, b"through")
    second.close()
    assert os.read(read, 100) == b"through"
    assert os.read(read, 100) == b""  # nobody else has it open
    os.close(read)


def test_a_line_that_does_not_wait_says_what_has_come_and_sends_what_is_taken() -> None:
    ours, theirs = socket.socketpair()
    said, heard = Line(ours, waits=False), Line(theirs, waits=False, largest_bytes=1 << 24)
    assert heard.receive() is None
    said.send({"text": "x" * (1 << 23)})
    assert said.has_unsent

    message = None
    while message is None:
        said.flush()
        message = heard.receive()
    assert len(message.fields["text"]) == 1 << 23
    assert not said.has_unsent


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x00\x00\x02\x00[]",
        b"\x00\x00\x00\x01\x00x",
        b"\xff\xff\xff\xff\x00",
        b"\x00\x03\x0d\x40\x00" + b"[" * 200_000,
        b"\x00\x00\x00\x02\x01{}",
    ],
    ids=["a list", "no JSON", "too large", "deep JSON", "a descriptor that never came"],
)
def test_what_is_no_message_closes_the_line(content: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(content)
    with pytest.raises(LineClosed):
        Line(theirs).receive()


def test_descriptors_that_were_not_asked_for_are_not_kept() -> None:
    ours, theirs = socket.socketpair()
    heard = Line(theirs)
    before = len(os.listdir("/proc/self/fd"))
    read, write = os.pipe()
    socket.send_fds(ours, [b"\x00\x00\x00\x02\x00{}"], [read, write])
    os.close(read)
    os.close(write)

    assert heard.receive() is not None
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_end_of_the_other_side_is_told() -> None:
    ours, theirs = pair()
    ours.close()
    with pytest.raises(LineClosed):
        Line(theirs).receive()
    with pytest.raises(LineClosed):
        Line(theirs).send({})
