"""`apollo users` and `apollo tokens`: who may come in, as the access file then says."""

from __future__ import annotations

import io
import json
import os
import pty
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from dagster_apollo.access.identity.access_file import AccessFile, digest_of, parse
from dagster_apollo.access.identity.access_source import read
from dagster_apollo.access.identity.passwords import matches
from dagster_apollo.cli import access, console
from dagster_apollo.errors import AccessFileError
from dagster_apollo.settings import SETTINGS

GOOD = "nine wet otters sing"


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Apollo = Callable[..., Ended]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands keep the access file: in a repository of one's own."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setattr(console, "repository_root", lambda: tmp_path)
    (tmp_path / "tenants" / "shop").mkdir(parents=True)
    return tmp_path / "access.yaml"


@pytest.fixture
def apollo(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Apollo:
    app = typer.Typer()
    app.add_typer(access.users_app, name="users")
    app.add_typer(access.tokens_app, name="tokens")

    def run(*words: str, typed: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capsys.readouterr()
        try:
            app(list(words), prog_name="apollo")
        except SystemExit as end:
            code = int(end.code or 0)
        except AccessFileError as error:
            return Ended(1, capsys.readouterr().out, str(error))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


def test_a_user_is_added_with_the_hash_of_the_password_alone(apollo: Apollo, file: Path) -> None:
    ended = apollo("users", "add", "ada", "--role", "operator", "--tenant", "shop", "--confined", typed=f"{GOOD}\n")

    assert ended.code == 0, ended.err
    entry = read(file).users["ada"]
    assert (entry.role, entry.tenants, entry.confined) == ("operator", ("shop",), True)
    assert matches(entry.password_hash, GOOD)
    assert GOOD not in file.read_text() + ended.out + ended.err


def test_the_new_file_is_its_owners_alone(apollo: Apollo, file: Path) -> None:
    apollo("users", "add", "ada", typed=GOOD)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_second_user_leaves_the_first(apollo: Apollo, file: Path) -> None:
    apollo("users", "add", "ada", typed=GOOD)
    apollo("users", "add", "bob", typed=f"{GOOD} too")

    assert list(read(file).users) == ["ada", "bob"]


@pytest.mark.parametrize(
    "password",
    ["", "short", "password12345", "adaadaadaada", "aaaaaaaaaaaaaaaa", "qwertyuiop12", "abcdefghijklmnop", "x" * 1001],
)
def test_a_weak_password_is_refused_and_not_shown(apollo: Apollo, file: Path, password: str) -> None:
    ended = apollo("users", "add", "ada", typed=password)

    assert ended.code == 1
    assert "too weak" in ended.err
    assert not password or password not in ended.err
    assert not read(file).users


@pytest.mark.parametrize("name", ["", "Ada", "a b", "-x", "ada\n", "a" * 129, "ä"])
def test_what_is_no_name_is_refused(apollo: Apollo, file: Path, name: str) -> None:
    ended = apollo("users", "add", "--", name, typed=GOOD)

    assert ended.code in (1, 2)
    assert not read(file).users


def test_a_name_is_used_once(apollo: Apollo) -> None:
    apollo("users", "add", "ada", typed=GOOD)

    assert "is a user already" in apollo("users", "add", "ada", typed=GOOD).err
    assert "is a user already" in apollo("tokens", "new", "ada").err
    apollo("tokens", "new", "ci")
    assert "is a token already" in apollo("users", "add", "ci", typed=GOOD).err


def test_an_administrator_is_one_of_everything(apollo: Apollo) -> None:
    ended = apollo("users", "add", "ada", "--role", "administrator", "--tenant", "shop", typed=GOOD)

    assert (ended.code, "an administrator is one of everything" in ended.err) == (1, True)


def test_nobody_is_confined_to_nothing(apollo: Apollo) -> None:
    assert "confined to no tenant" in apollo("users", "add", "ada", "--confined", typed=GOOD).err


def test_a_tenant_that_is_not_there_is_said(apollo: Apollo, file: Path) -> None:
    ended = apollo("users", "add", "ada", "--tenant", "shpo", typed=GOOD)

    assert "--tenant shpo: there is no such tenant yet" in ended.err
    assert "ada" in read(file).users


def test_another_password_replaces_the_first(apollo: Apollo, file: Path) -> None:
    apollo("users", "add", "ada", "--role", "operator", typed=GOOD)
    assert apollo("users", "password", "ada", typed=f"{GOOD} now").code == 0

    entry = read(file).users["ada"]
    assert (matches(entry.password_hash, GOOD), matches(entry.password_hash, f"{GOOD} now")) == (False, True)
    assert entry.role == "operator"


def test_removed_is_removed(apollo: Apollo, file: Path) -> None:
    apollo("users", "add", "ada", typed=GOOD)
    apollo("users", "add", "bob", typed=GOOD)
    assert apollo("users", "remove", "ada").code == 0

    assert list(read(file).users) == ["bob"]
    assert "is not a user. Known: bob" in apollo("users", "remove", "ada").err
    assert "is not a user" in apollo("users", "password", "ada", typed=GOOD).err


def test_the_list_holds_no_hash(apollo: Apollo) -> None:
    apollo("users", "add", "ada", "--role", "operator", "--tenant", "shop", typed=GOOD)

    told: dict[str, Any] = json.loads(apollo("users", "list", "--json").out)
    assert told == {
        "ok": True,
        "users": [{"name": "ada", "role": "operator", "tenants": ["shop"], "confined": False}],
        "problems": [],
    }
    assert "argon2" not in apollo("users", "list").out


def test_what_is_exported_is_the_same_file(apollo: Apollo, file: Path) -> None:
    apollo("users", "add", "ada", typed=GOOD)
    apollo("tokens", "new", "ci")
    line = apollo("users", "export").out

    assert line.count("\n") == 1
    assert "$" not in line
    assert parse(line, "APOLLO_ACCESS") == read(file)


def test_a_token_is_printed_once_and_kept_as_its_hash(apollo: Apollo, file: Path) -> None:
    ended = apollo("tokens", "new", "ci", "--role", "operator", "--days", "7", "--tenant", "shop")

    token = ended.out.strip()
    assert token.startswith("apollo_")
    assert len(token) == len("apollo_") + 43
    assert token not in file.read_text() + ended.err
    entry = read(file).tokens["ci"]
    assert entry.sha256 == digest_of(token)
    listed = json.loads(apollo("tokens", "list", "--json").out)["tokens"][0]
    assert (listed["name"], listed["role"], listed["tenants"], listed["expired"]) == ("ci", "operator", ["shop"], False)


def test_two_tokens_are_different(apollo: Apollo) -> None:
    assert apollo("tokens", "new", "one").out != apollo("tokens", "new", "other").out


@pytest.mark.parametrize("days", ["0", "-1", "4000", "x"])
def test_a_token_has_an_end(apollo: Apollo, days: str) -> None:
    assert apollo("tokens", "new", "ci", "--days", days).code == 2


def test_revoked_is_revoked(apollo: Apollo, file: Path) -> None:
    apollo("tokens", "new", "ci")
    assert apollo("tokens", "revoke", "ci").code == 0

    assert not read(file).tokens
    assert "is not a token" in apollo("tokens", "revoke", "ci").err


def test_where_the_variable_is_served_it_is_said_that_the_file_is_not(
    apollo: Apollo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APOLLO_ACCESS", "users: {}")

    assert "a webserver reads it in place of the file" in apollo("users", "add", "ada", typed=GOOD).err


def test_a_file_that_is_not_right_is_left_as_it_is(apollo: Apollo, file: Path) -> None:
    file.write_text("users: [")

    assert apollo("users", "add", "ada", typed=GOOD).code == 1
    assert file.read_text() == "users: ["


_ADD = """
import sys
from pathlib import Path
from dagster_apollo.access.identity.access_file import UserEntry
from dagster_apollo.access.identity.access_source import change
from dagster_apollo.access.identity.passwords import hash_password
hashed = hash_password("nine wet otters sing")
for number in range(10):
    change(Path(sys.argv[1]), lambda f: f.with_user(f"{sys.argv[2]}{number}", UserEntry(password_hash=hashed)))
"""


def test_two_who_add_at_once_lose_nobody(file: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", _ADD, str(file), name]) for name in ("a", "b")]

    assert [process.wait(60) for process in running] == [0, 0]
    assert len(read(file).users) == 20


class TestAtATerminal:
    """The password is asked for twice and not echoed."""

    def run(self, file: Path, *typed: str) -> tuple[int, str]:
        program = (
            "import sys; from pathlib import Path; from dagster_apollo.cli import console, main; "
            "root = Path(sys.argv.pop(1)); console.repository_root = lambda: root; main.main()"
        )
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(file.parent), "users", "add", "ada"],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True,
            env={"PATH": os.environ["PATH"], "HOME": str(file.parent), "TERM": "dumb", "COLUMNS": "200"},
        )  # fmt: skip
        os.close(theirs)
        said = b""
        for prompt, line in zip((b"Password for ada: ", b"Again: "), typed, strict=True):
            end = time.monotonic() + 60
            while not said.endswith(prompt):
                assert time.monotonic() < end, said
                said += os.read(ours, 4096)
            os.write(ours, line.encode() + b"\n")
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:
                break
            if not chunk:
                break
            said += chunk
        os.close(ours)
        return process.wait(60), said.decode()

    def test_typed_twice_it_is_taken_and_not_echoed(self, file: Path) -> None:
        code, said = self.run(file, GOOD, GOOD)

        assert code == 0, said
        assert GOOD not in said
        assert "ada" in read(file).users

    def test_typed_otherwise_the_second_time_it_is_refused(self, file: Path) -> None:
        code, said = self.run(file, GOOD, f"{GOOD}!")

        assert code == 1
        assert "was not the same twice" in said
        assert read(file) == AccessFile()
