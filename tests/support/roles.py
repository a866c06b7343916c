"""The roles of the one image as processes on loopback: started by the command that a container runs, ended by signals.

Each has folders of its own, as containers have, and all share one Postgres. What they print is kept for the report of
a test that failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil

from dagster_apollo.access.identity.access_file import (
    AccessFile,
    TokenEntry,
    UserEntry,
    digest_of,
    new_token,
    render,
    utc_now,
)
from dagster_apollo.access.identity.passwords import hash_password
from dagster_apollo.code_host.calls import AUTHORIZATION, LOCATION, SERVICE, authorization
from dagster_apollo.locations import all_locations
from dagster_apollo.tenant import tenant_names
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.root import Root
from tests.support.stack import BIN, REPOSITORY
from tests.support.webserver import Webserver, wait_until

START_TIMEOUT_SECONDS = 120.0
# Tenants' ports are above it, and must stay below those that the system gives away.
_CODE_PORTS = range(20_000, 26_000, 7)


@dataclass
class Roles:
    """Processes of one deployment.

    Attributes:
        folder: everything of it.
        postgres: the database.
        ports: of the webserver and of the code host's directory.
        running: by role.
        tokens: an administrator's, a viewer's who is confined to `alpha`, and what the code host's front asks for.
        root: who starts and ends the code host, where it is not this user.
    """

    folder: Path
    postgres: Postgres
    ports: Mapping[str, int] = field(default_factory=lambda: {"webserver": free_port(), "code": _code_port()})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(
        default_factory=lambda: {name: new_token() for name in ("all", "alpha", "front")}, repr=False
    )
    root: Root = field(default=Root(()))

    @property
    def tenants_dir(self) -> Path:
        return self.folder / "tenants"

    def environ(self, role: str, **more: str) -> dict[str, str]:
        """What a role is started with, and nothing of this machine's."""
        own = self.folder / role
        (own / "tmp").mkdir(parents=True, exist_ok=True)
        (own / "tmp").chmod(0o1777)  # as /tmp is
        common = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TMPDIR": str(own / "tmp"),
            "DAGSTER_PG_URI": self.postgres.url(),
            "APOLLO_STATE_DIR": str(own / "state"),
            "DAGSTER_HOME": str(own / "dagster"),
            "APOLLO_TENANTS_DIR": str(self.tenants_dir),
            "APOLLO_RELEASE": f"release-of-{role}",
            "APOLLO_CODE_TOKEN": self.tokens["front"],
        }
        code_host = {"APOLLO_CODE_HOST": f"127.0.0.1:{self.ports['code']}"}
        by_role: dict[str, dict[str, str]] = {
            "code": {"PORT": str(self.ports["code"]), "DBT_TARGET": "prod", "APOLLO_DRAIN_SECONDS": "60"},
            "daemon": code_host,
            "webserver": {**code_host, "PORT": str(self.ports["webserver"]), **self._login()},
        }
        return {**common, **by_role.get(role, {}), **more}

    def start(self, role: str, *words: str, prefix: Sequence[str] = (), **more: str) -> subprocess.Popen[bytes]:
        """Start a role; with a prefix, as what that makes of it."""
        with (self.folder / f"{role}.log").open("ab") as log:
            self.running[role] = subprocess.Popen(
                [*prefix, str(BIN / "apollo"), role, *words],
                env=self.environ(role, **more),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.running[role]

    def start_all(self, **more: str) -> Roles:
        """Start all three at once, as a Docker host does, and wait until their locations are known."""
        self.start("code", **more)
        self.start("daemon")
        self.start("webserver", "--migrate")
        names = set(all_locations(self.tenants_dir, tenant_names(self.tenants_dir)))
        self.wait_until(lambda: set(self.status().get("locations", {})) == names, "the locations are known")
        self.wait_until(lambda: self._settled(names), "every location is loaded, or says why it is not")
        return self

    def stop(self, role: str, number: int = signal.SIGTERM, timeout_seconds: float = 90.0) -> int:
        """Signal a role, as a platform does; its exit code."""
        if self.running[role].poll() is None:
            self._signal(number, self.process(role))
        return self.running.pop(role).wait(timeout_seconds)

    def process(self, role: str) -> psutil.Process:
        """A role's own process, below what made it root's."""
        found = psutil.Process(self.running[role].pid)
        while found.name() == "sudo":
            found = found.children()[0]
        return found

    def said(self, role: str) -> str:
        """All that a role has printed."""
        file = self.folder / f"{role}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def get(self, path: str, role: str = "webserver", token: str = "all") -> tuple[int, str]:
        """Ask by HTTP: status and text; status 0 when nothing answers."""
        headers = {"Authorization": f"Bearer {self.tokens[token]}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[role]}{path}", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self, token: str = "all") -> dict[str, Any]:
        """What `/status` says; nothing while it cannot be asked."""
        code, text = self.get("/status", token=token)
        if code not in (200, 503):
            return {}
        told: dict[str, Any] = json.loads(text)
        assert told["ok"] is (code == 200)
        return told

    @property
    def webserver(self) -> Webserver:
        return Webserver(f"http://127.0.0.1:{self.ports['webserver']}", self.tokens["all"])

    def alive(self, role: str) -> int:
        """The exit code of the check that a platform makes in the role's container."""
        command = [sys.executable, "-m", "dagster_apollo.host.alive", role]
        return subprocess.run(
            command, env=self.environ(role), cwd=REPOSITORY, check=False, capture_output=True
        ).returncode

    def call_front(self, method: str, location: str, request: bytes = b"", token: str = "front") -> bytes:
        """Make a call of the code-server API, as webserver and daemon do.

        Raises:
            grpc.RpcError: it is refused, or cannot be answered.
        """
        metadata = [(AUTHORIZATION, authorization(self.tokens[token])), (LOCATION, location)]
        with grpc.insecure_channel(f"127.0.0.1:{self.ports['code'] + 1}") as channel:
            answer: bytes = channel.unary_unary(f"{SERVICE}{method}")(request, metadata=metadata, timeout=120)
            return answer

    def tenant_process(self, location: str) -> psutil.Process:
        """A location's warm process; it is woken where it sleeps."""
        with contextlib.suppress(grpc.RpcError):
            self.call_front("ExternalPartitionNames", location)
        found = self.code_processes(location)
        assert found, f"nothing serves {location}:\n{self.said('code')[-2000:]}"
        return found[0]

    def code_processes(self, name: str) -> list[psutil.Process]:
        """The code host's processes of a name: `front`, `zygote`, a location's own, `serve:…` and `run:…` of it."""
        below = psutil.Process(self.running["code"].pid).children(recursive=True)
        return [process for process in below if process.name() == name[:15]]

    def wait_until(self, holds: Callable[[], object], what: str, seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Wait for something that the roles do; with what they said when it does not happen."""
        try:
            wait_until(holds, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs}") from None

    @property
    def logs(self) -> str:
        return "\n".join(
            f"--- {file.name}\n{self.said(file.stem)[-3000:]}" for file in sorted(self.folder.glob("*.log"))
        )

    def kill(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for process in self.running.values():
            if process.poll() is None:
                first = psutil.Process(process.pid)
                for each in (first, *first.children(recursive=True)):
                    self._signal(signal.SIGKILL, each)
            process.wait()
        self.running.clear()

    def _signal(self, number: int, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if os.getuid() in (0, process.uids().real):
                process.send_signal(number)
            else:
                self.root.run("kill", f"-{int(number)}", str(process.pid))

    def _settled(self, names: set[str]) -> bool:
        locations = self.status().get("locations", {})
        pending = ("not loaded yet", "is being prepared", "UNAVAILABLE", "does not answer")
        return set(locations) == names and not any(
            words in (entry["error"] or "") for entry in locations.values() for words in pending
        )

    def _login(self) -> dict[str, str]:
        ends = utc_now() + timedelta(days=1)
        file = AccessFile().with_user("ada", UserEntry(role="viewer", password_hash=hash_password("a long enough one")))
        entry = TokenEntry(role="administrator", sha256=digest_of(self.tokens["all"]), expires=ends)
        file = file.with_token("monitor", entry)
        entry = TokenEntry(
            role="viewer", tenants=("alpha",), confined=True, sha256=digest_of(self.tokens["alpha"]), expires=ends
        )
        return {
            "APOLLO_ACCESS": render(file.with_token("alpha", entry)),
            "APOLLO_SESSION_SECRET": "0123456789abcdef" * 4,
        }


@contextmanager
def roles_of(folder: Path, postgres: Postgres, root: Root | None = None) -> Iterator[Roles]:
    """Roles that are gone afterwards."""
    folder.chmod(0o755)  # tenants' users pass through it
    roles = Roles(folder, postgres, root=root or Root(()))
    try:
        yield roles
    finally:
        roles.kill()


def _code_port() -> int:
    return random.choice(_CODE_PORTS)
