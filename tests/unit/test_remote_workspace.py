"""The workspace as the code host tells it: followed when it changes, kept when the code host is away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dagster_apollo.host.directory import Directory, Location
from dagster_apollo.host.directory_server import DirectoryServer
from dagster_apollo.host.remote_workspace import RemoteWorkspace
from tests.support.ports import free_port

ALPHA, BETA = Location("alpha", 4001, True), Location("beta", 4002, True)
ONE = Directory((ALPHA,), "the-instance")


class Workspace:
    """What is asked of Dagster's process context."""

    def __init__(self, remote: RemoteWorkspace) -> None:
        self.remote, self.asked = remote, []  # type: ignore[var-annotated]

    def refresh_workspace(self) -> None:
        self.asked.append("all")
        self.remote.create_origins()

    def refresh_code_location(self, name: str) -> None:
        self.asked.append(name)


def follow(remote: RemoteWorkspace, workspace: Workspace) -> list[Any]:
    """One look of the watching thread; what it asked for."""
    workspace.asked.clear()
    state = remote.ask()
    if state.problem is None and state.directory:
        remote._follow(workspace, state.directory)  # type: ignore[arg-type]
    return list(workspace.asked)


def test_what_is_served_is_found_where_it_is_served() -> None:
    port = free_port()
    with DirectoryServer("127.0.0.1", port, Directory((ALPHA, BETA), "the-instance")):
        origins = RemoteWorkspace("127.0.0.1", port, "the-instance").create_origins()

    assert [(origin.location_name, origin.host, origin.port) for origin in origins] == [
        ("alpha", "127.0.0.1", 4001),
        ("beta", "127.0.0.1", 4002),
    ]


def test_a_code_host_that_is_away_at_the_start_is_waited_for() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")

    assert remote.create_origins() == []
    assert f"the code host at 127.0.0.1:{port}: does not answer" in (remote.state.problem or "")
    with DirectoryServer("127.0.0.1", port, ONE):
        workspace = Workspace(remote)
        assert follow(remote, workspace) == ["all"]
        assert follow(remote, workspace) == []


def test_what_it_said_is_kept_while_it_is_away() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    with DirectoryServer("127.0.0.1", port, ONE):
        remote.create_origins()

    assert [origin.location_name for origin in remote.create_origins()] == ["alpha"]
    assert remote.state.problem is not None


def test_a_tenant_that_comes_or_goes_or_moves_is_followed() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    workspace = Workspace(remote)
    with DirectoryServer("127.0.0.1", port, ONE) as server:
        remote.create_origins()
        for locations in ((ALPHA, BETA), (BETA,), (replace(BETA, port=4009),)):
            server.show(replace(ONE, locations=locations))
            assert follow(remote, workspace) == ["all"]
            assert follow(remote, workspace) == []


def test_a_tenant_that_begins_to_answer_is_loaded_alone() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    workspace = Workspace(remote)
    with DirectoryServer("127.0.0.1", port, replace(ONE, locations=(ALPHA, replace(BETA, ready=False)))) as server:
        remote.create_origins()
        server.show(replace(ONE, locations=(ALPHA, BETA)))

        assert follow(remote, workspace) == ["beta"]


def test_a_code_host_of_another_database_is_not_used() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    with DirectoryServer("127.0.0.1", port, replace(ONE, instance="another")):
        assert remote.create_origins() == []
        assert "another database" in (remote.state.problem or "")


def test_a_code_host_that_waits_for_its_database_is_told_as_such() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    with DirectoryServer("127.0.0.1", port, Directory(())):
        assert remote.create_origins() == []
        assert "waits for the database" in (remote.state.problem or "")
