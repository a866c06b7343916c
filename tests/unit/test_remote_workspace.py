"""The workspace as the code host tells it: followed when it changes, kept when the code host is away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dagster_apollo.code_host.directory import Directory, Location
from dagster_apollo.code_host.directory_server import DirectoryServer
from dagster_apollo.host.remote_workspace import UNREACHABLE, RemoteWorkspace
from tests.support.ports import free_port

ALPHA, BETA = Location("alpha", 4001, True, "alpha-1"), Location("beta", 4001, True, "beta-1")
ONE = Directory((ALPHA,), "the-instance")


@dataclass
class Error:
    cls_name: str


@dataclass
class Loaded:
    server_id: str


@dataclass
class Entry:
    code_location: Loaded | None
    load_error: Error | None


@dataclass
class Workspace:
    """What is asked of Dagster's process context: it loads what the directory says, or fails as it is told."""

    remote: RemoteWorkspace
    asked: list[str] = field(default_factory=list)
    fails: dict[str, str] = field(default_factory=dict)
    code_location_entries: dict[str, Entry] = field(default_factory=dict)

    def refresh_workspace(self) -> None:
        self.asked.append("all")
        self.code_location_entries = {
            origin.location_name: self._load(origin.location_name) for origin in self.remote.create_origins()
        }

    def refresh_code_location(self, name: str) -> None:
        self.asked.append(name)
        self.code_location_entries[name] = self._load(name)

    def get_current_workspace(self) -> Workspace:
        return self

    def _load(self, name: str) -> Entry:
        if name in self.fails:
            return Entry(None, Error(self.fails[name]))
        return Entry(Loaded(self.remote.current_id(name) or ""), None)


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
        ("beta", "127.0.0.1", 4001),
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
        workspace.refresh_workspace()
        for locations in ((ALPHA, BETA), (BETA,), (replace(BETA, port=4009),)):
            server.show(replace(ONE, locations=locations))
            assert follow(remote, workspace) == ["all"]
            assert follow(remote, workspace) == []


def test_a_tenant_that_begins_to_answer_is_loaded_alone() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    workspace = Workspace(remote)
    waiting = replace(BETA, ready=False, server_id=None)
    with DirectoryServer("127.0.0.1", port, replace(ONE, locations=(ALPHA, waiting))) as server:
        workspace.fails["beta"] = UNREACHABLE
        workspace.refresh_workspace()
        assert follow(remote, workspace) == []
        workspace.fails.clear()
        server.show(replace(ONE, locations=(ALPHA, BETA)))

        assert follow(remote, workspace) == ["beta"]
        assert follow(remote, workspace) == []


def test_a_new_version_of_a_tenant_is_loaded_alone() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    workspace = Workspace(remote)
    with DirectoryServer("127.0.0.1", port, replace(ONE, locations=(ALPHA, BETA))) as server:
        workspace.refresh_workspace()
        server.show(replace(ONE, locations=(replace(ALPHA, server_id="alpha-2"), BETA)))

        assert follow(remote, workspace) == ["alpha"]
        assert follow(remote, workspace) == []


def test_what_fails_is_tried_once_a_version_and_what_could_not_be_reached_again() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    workspace = Workspace(remote, fails={"alpha": "DagsterUserCodeProcessError", "beta": UNREACHABLE})
    with DirectoryServer("127.0.0.1", port, replace(ONE, locations=(ALPHA, BETA))) as server:
        workspace.refresh_workspace()
        assert follow(remote, workspace) == ["alpha", "beta"]
        assert follow(remote, workspace) == ["beta"]
        server.show(replace(ONE, locations=(replace(ALPHA, server_id="alpha-2"), BETA)))
        assert follow(remote, workspace) == ["alpha", "beta"]


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


def test_a_location_that_has_nothing_to_say_yet_is_not_asked() -> None:
    port = free_port()
    remote = RemoteWorkspace("127.0.0.1", port, "the-instance")
    assert remote.is_prepared("alpha")  # nothing is known: it is asked
    waiting = replace(ONE, locations=(Location("alpha", 4001, False, None), BETA))
    with DirectoryServer("127.0.0.1", port, waiting):
        remote.ask()
        assert not remote.is_prepared("alpha")
        assert remote.is_prepared("beta")
    remote.ask()

    assert remote.is_prepared("alpha")  # the code host is away: what it said is not what is
