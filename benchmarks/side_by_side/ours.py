"""Ours as it is deployed: `apollo webserver`, `daemon` and `code` with login, scoping, Postgres and a user a tenant.

Started by their commands and known by their processes alone, so that any code host is measured alike. What the image
holds, manifests, is made by the command that makes the image; nothing else is kept from one start to the next.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.side_by_side.database import ROLES, Database
from benchmarks.side_by_side.measures import SideName
from benchmarks.side_by_side.processes import Tree
from benchmarks.side_by_side.projects import THREADS, Project
from benchmarks.side_by_side.served import BenchmarkError, Webserver
from tests.support.parts import MissingPart
from tests.support.roles import Roles
from tests.support.root import Root
from tests.support.stack import BIN, REPOSITORY

TENANT_YAML = 'warehouse: duckdb\nschedule: {cron: "0 3 * * *", running_in: [prod]}\n'
_FRESH = """\
from datetime import timedelta

import dagster as dg


@dg.asset(key_prefix="{name}", freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=1)))
def landed() -> None:
    pass


defs = dg.Definitions(assets=[landed])
"""


class Ours:
    """The roles of our image, for some projects as tenants."""

    name: SideName = "ours"

    def __init__(self, folder: Path, database: Database) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # tenants' users pass through it
        self.folder, self.database = folder, database
        self._root = _root()
        self._roles = Roles(folder, database.postgres, root=self._root or Root(()))
        self.webserver = Webserver("http://127.0.0.1:0")
        self._projects: Sequence[Project] = ()
        self._trees: dict[str, Tree] = {}

    def prepare(self, projects: Sequence[Project], *, freshness: bool = False) -> None:
        """See `Side.prepare`."""
        self._projects = projects
        for number, project in enumerate(projects):
            tenant = self._roles.tenants_dir / project.name
            if not tenant.exists():
                project.write(tenant)
                (tenant / "tenant.yaml").write_text(TENANT_YAML)
            if number == 0 and freshness:
                (tenant / "definitions.py").write_text(_FRESH.format(name=project.name))
        # Made where the code host will look, since a manifest holds paths; aside then, so that each start begins bare.
        self._forget()
        state, kept = Path(self._environ("code")["APOLLO_STATE_DIR"]), self.folder / "made"
        if kept.exists():
            kept.rename(state)
        self._to_its_end("bake", str(self.folder / "baked"))
        state.rename(kept)
        self._to_its_end("migrate")

    def boot(self) -> float:
        """See `Side.boot`."""
        self._forget()
        prefix = self._root.like_the_code_host() if self._root else ()
        began = time.monotonic()
        for role in ("code", "daemon", "webserver"):
            self._roles.start(role, prefix=prefix if role == "code" else (), **self._given(role))
        self.webserver = Webserver(self._roles.webserver.address, self._roles.tokens["all"])
        self.webserver.wait_until_loaded({project.name for project in self._projects}, self._roles.running)
        seconds = time.monotonic() - began
        self._trees = {role: Tree(self._roles.process(role)) for role in ROLES}
        return seconds

    def stop(self) -> None:
        """See `Side.stop`."""
        left = self.processes(*ROLES)
        try:
            for role in ("webserver", "daemon", "code"):
                if role in self._roles.running:
                    with contextlib.suppress(subprocess.TimeoutExpired):  # it is killed below
                        self._roles.stop(role)
        finally:
            self._roles.kill()
            _, alive = psutil.wait_procs(left, 10)
            for process in alive:
                process.kill()
            self._trees = {}

    def processes(self, *roles: str) -> list[psutil.Process]:
        """See `Side.processes`."""
        wanted = roles or (*ROLES, "database")
        found = [process for role in wanted if role in self._trees for process in self._trees[role].processes()]
        return [*found, *(Tree(self.database.process()).processes() if "database" in wanted else ())]

    def build_job(self, project: Project) -> str:
        """See `Side.build_job`."""
        return f"{project.name}__build"

    def key(self, project: Project, asset: str) -> list[str]:
        """See `Side.key`."""
        return [project.name, asset]

    def _given(self, role: str) -> dict[str, str]:
        """What a role has beside what every test gives it."""
        return {
            "DAGSTER_PG_URI": self.database.url(role if role in ROLES else "webserver"),
            "APOLLO_BAKED_DIR": str(self.folder / "baked"),
            "DBT_TARGET": "prod",
            "DBT_THREADS": str(THREADS),
            "PYTHONPATH": str(REPOSITORY),
        }

    def _environ(self, role: str) -> dict[str, str]:
        return self._roles.environ(role, **self._given(role))

    def _to_its_end(self, *words: str) -> None:
        done = subprocess.run(
            [str(BIN / "apollo"), *words],
            cwd=REPOSITORY,
            env=self._environ("code"),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout}{done.stderr}"[-2000:]
            raise BenchmarkError(f"apollo {' '.join(words)} ended with {done.returncode}: {said}")

    def _forget(self) -> None:
        """Everything that an earlier start left, but for the database and what it said."""
        for role in ROLES:
            folder = self.folder / role
            if folder.exists() and self._root:
                self._root.do("rm", "-r", str(folder))
            shutil.rmtree(folder, ignore_errors=True)


def walls() -> str:
    """What keeps tenants apart on this machine."""
    return "a user for each tenant" if _root() else "none, neither root nor sudo without a password"


def _root() -> Root | None:
    try:
        return Root.here()
    except MissingPart:
        return None
