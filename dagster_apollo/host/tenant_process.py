"""A tenant's process before it serves: its folders, its manifest, a word to the code host, then Dagster's gRPC server.

Started as the tenant's user with the tenant's environment alone. Dagster is not imported here: the process becomes
`dagster api grpc` by exec, so that what was needed to prepare is given back. What keeps the tenant from being served
goes along and becomes its location's load error.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_apollo.dbt.baking import take_baked
from dagster_apollo.dbt.manifest import written_relations
from dagster_apollo.dbt.preparation import load_prepared, prepare, what_differs
from dagster_apollo.dbt.workspace import Places, open_workspace, repository_root
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.execution.process import end_with_parent
from dagster_apollo.host.location_servers import server_command
from dagster_apollo.host.role import LOCATION_VARIABLE, REFUSED_VARIABLE, TENANT_VARIABLE, say
from dagster_apollo.settings import read


@dataclass(frozen=True)
class Report:
    """What a tenant's process tells the code host once it is prepared, in one line.

    Attributes:
        place: the warehouse that it builds in; empty when it cannot be served.
        tables: what it writes there.
        problems: what keeps it from being served.
    """

    place: str = ""
    tables: tuple[tuple[str, ...], ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> bytes:
        problems = [problem.as_dict() for problem in self.problems]
        return json.dumps({"place": self.place, "tables": self.tables, "problems": problems}).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Report:
        document = json.loads(line)
        tables = tuple(tuple(map(str, table)) for table in document["tables"])
        return cls(str(document["place"]), tables, problems_from(document["problems"]))


def problems_from(entries: Sequence[Mapping[str, str]]) -> tuple[Problem, ...]:
    """Problems as `Problem.as_dict` wrote them."""
    return tuple(Problem(**entry) for entry in entries)  # type: ignore[arg-type]


def prepare_tenant(environ: Mapping[str, str], name: str) -> Report:
    """Take the image's manifest where it holds here, else make one; say which, and why."""
    try:
        workspace = open_workspace(environ, Places.find(environ, repository_root()), name)
        baked_dir = Path(str(read(environ)["APOLLO_BAKED_DIR"]))
        if not take_baked(workspace, baked_dir):
            differing = what_differs(workspace, baked_dir / name)
            say(f"{name}: preparing for {workspace.values.target}: {differing}")
            prepare(workspace)
        return Report(workspace.profile.place, tuple(written_relations(load_prepared(workspace))))
    except ProblemsError as error:
        return Report(problems=error.problems)
    except Exception as error:  # a fault of ours: the location says so, the other tenants are served
        what = f"its preparation ended with {type(error).__name__}: {error}"
        return Report(problems=(Problem(f"tenants/{name}", what, "See the code host's log."),))


def make_own_folders(folder: Path, root: Path) -> None:
    """The tenant's home for Dagster, and a folder for temporary files that begins empty."""
    folder.mkdir(mode=0o700, exist_ok=True)
    home, temporary = folder / "dagster", folder / "tmp"
    home.mkdir(exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(exist_ok=True)
    shutil.copyfile(root / "dagster.yaml", home / "dagster.yaml")


def main(host: str, report: str, verdict: str, *ports: str) -> None:
    """Prepare, tell, hear, serve.

    Args:
        host: the address that the gRPC servers will listen on.
        report: the descriptor that the report is written to.
        verdict: the descriptor that tells what else keeps the tenant from being served. With several locations it
            stays open until the tenant is to drain.
        ports: `location=port` of each code location.
    """
    end_with_parent()
    environ = dict(os.environ)
    name, folder = environ[TENANT_VARIABLE], Path(environ["APOLLO_STATE_DIR"])
    make_own_folders(folder, repository_root())
    told = prepare_tenant(environ, name)
    with open(int(report), "wb") as out:
        out.write(told.to_json())
    with open(int(verdict), "rb", closefd=len(ports) == 1) as heard:
        line = heard.readline()
    if not line:
        return  # the code host is gone
    problems = [*told.problems, *problems_from(json.loads(line))]
    for problem in problems:
        say(f"{name}: cannot be served: {problem}")
    if problems:
        environ[REFUSED_VARIABLE] = json.dumps([problem.as_dict() for problem in problems[:50]])
    # Not in the repository: Dagster would read its `.env`, which holds every tenant's variables.
    os.chdir(environ["DAGSTER_HOME"])
    if len(ports) > 1:
        command = [sys.executable, "-m", "dagster_apollo.host.location_servers", host, verdict, *ports]
    else:
        location, _, port = ports[0].partition("=")
        environ[LOCATION_VARIABLE] = location
        command = server_command(host, location, port)
    os.execve(command[0], command, environ)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
