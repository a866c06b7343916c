"""The directory of the code host: one document for both sides, and the address under which it is asked."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from dagster_apollo.code_host.directory import Directory, Location, fetch, split_address
from dagster_apollo.code_host.directory_server import DirectoryServer
from dagster_apollo.errors import HostError, SettingsError
from tests.support.ports import free_port

DIRECTORY = Directory((Location("alpha", 4001, True, "alpha-1"), Location("beta", 4001)), "an-id", "1.0", "abc", None)


def test_what_is_written_is_read() -> None:
    assert Directory.from_json(DIRECTORY.to_json()) == DIRECTORY


def test_what_a_newer_code_host_adds_is_passed_over() -> None:
    content = b'{"version": "9", "new": 1, "locations": [{"name": "a", "port": 4001, "new": 2}]}'

    assert Directory.from_json(content).locations == (Location("a", 4001, True),)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"locations": [{"name": "a"}]}', b"<html>"])
def test_anything_else_is_no_directory(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a directory|Expecting value"):
        Directory.from_json(content)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("dagster-code:4000", ("dagster-code", 4000)),
        ("dagster-code-ne5j:10001", ("dagster-code-ne5j", 10001)),
        ("dagster-code", ("dagster-code", 4000)),
        ("[::1]:4001", ("::1", 4001)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(address: str, place: tuple[str, int]) -> None:
    assert split_address(address) == place


@pytest.mark.parametrize("address", [None, "", "http://dagster-code:4000", "host:port", "host:99999", "a:1/b"])
def test_another_address_is_refused_by_the_settings_name(address: str | None) -> None:
    with pytest.raises(SettingsError, match="APOLLO_CODE_HOST"):
        split_address(address)


def told(port: int, seen: int | None = None) -> Directory:
    """What a server says, but for the number that it counts by."""
    return replace(fetch("127.0.0.1", port, seen=seen), seen=0, started="")


def test_a_server_answers_with_what_was_shown_last() -> None:
    port = free_port()
    with DirectoryServer("127.0.0.1", port, Directory(())) as server:
        assert told(port) == Directory(())
        server.show(DIRECTORY)
        assert told(port) == DIRECTORY
    with pytest.raises(HostError, match=f"127.0.0.1:{port}: does not answer"):
        fetch("127.0.0.1", port)


def test_a_question_about_changes_is_answered_when_there_is_one() -> None:
    port = free_port()
    with DirectoryServer("127.0.0.1", port, Directory(())) as server:
        seen = fetch("127.0.0.1", port).seen
        server.show(Directory(()))
        assert fetch("127.0.0.1", port).seen == seen  # the same is no change
        answers: list[Directory] = []
        asking = threading.Thread(target=lambda: answers.append(told(port, seen)))
        asking.start()
        server.show(DIRECTORY)
        asking.join(20)

        assert answers == [DIRECTORY]
        assert told(port, seen) == DIRECTORY  # who has not heard of it is told at once


def test_a_server_that_is_started_again_has_no_number_that_somebody_has_seen() -> None:
    port = free_port()
    with DirectoryServer("127.0.0.1", port, Directory(())) as server:
        for number in range(3):
            server.show(Directory((), version=str(number)))
        seen = fetch("127.0.0.1", port).seen
    with DirectoryServer("127.0.0.1", port, Directory(())):
        assert fetch("127.0.0.1", port, seen=seen).seen > seen


def test_every_start_has_a_name_of_its_own_that_no_change_takes_away() -> None:
    port = free_port()
    with DirectoryServer("127.0.0.1", port, DIRECTORY) as server:
        first = fetch("127.0.0.1", port).started
        server.show(replace(DIRECTORY, draining=True))
        draining = fetch("127.0.0.1", port)
    with DirectoryServer("127.0.0.1", port, DIRECTORY):
        again = fetch("127.0.0.1", port).started

    assert first
    assert (draining.draining, draining.started) == (True, first)
    assert again != first


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    with DirectoryServer("127.0.0.1", port, Directory(())), pytest.raises(HostError, match=f"PORT={port}"):
        DirectoryServer("127.0.0.1", port, Directory(()))
