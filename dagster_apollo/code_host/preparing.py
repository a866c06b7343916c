"""What is done for a tenant before it is served: its folders, its manifest, and a word to the first process.

In a fork of the zygote that is the tenant's user and has its environment alone. Dagster's definitions are not loaded
here; what keeps the tenant from being served is told along and becomes its locations' load error.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_apollo.code_host.lines import Line
from dagster_apollo.code_host.snapshots import content_key
from dagster_apollo.dbt.baking import take_baked
from dagster_apollo.dbt.manifest import written_relations
from dagster_apollo.dbt.preparation import SLIM_FILE, load_prepared, prepare, what_differs
from dagster_apollo.dbt.workspace import Places, open_workspace, repository_root
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.execution.command import Command
from dagster_apollo.execution.starter import use_forks
from dagster_apollo.host.role import TENANT_VARIABLE, say
from dagster_apollo.settings import read
from dagster_apollo.warm.dbt_forks import ForkedDbts
from dagster_apollo.warm.dbt_parent import Request

_DIGEST = re.compile(r"[0-9a-f]{0,64}")


@dataclass(frozen=True)
class Report:
    """What is told of a tenant once it is prepared.

    Attributes:
        place: the warehouse that it builds in; empty when it cannot be served.
        tables: what it writes there.
        problems: what keeps it from being served.
        content: what its definitions are made of (`snapshots.content_key`).
    """

    place: str = ""
    tables: tuple[tuple[str, ...], ...] = ()
    problems: tuple[Problem, ...] = ()
    content: str = ""

    def as_fields(self) -> dict[str, Any]:
        """As a line takes it."""
        problems = [problem.as_dict() for problem in self.problems]
        return {"place": self.place, "tables": self.tables, "problems": problems, "content": self.content}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Report:
        """Read a report; the tenant's code may have written it, so anything may be wrong with it.

        Raises:
            ValueError: it is none.
        """
        try:
            tables = tuple(tuple(map(_text, table)) for table in fields["tables"])
            problems = tuple(
                Problem(**{name: _text(text) for name, text in entry.items()})  # type: ignore[arg-type]
                for entry in fields["problems"]
            )
            place, content = _text(fields["place"]), str(fields["content"])
        except (KeyError, TypeError, AttributeError):
            raise ValueError("not a report of a tenant") from None
        if not _DIGEST.fullmatch(content):
            raise ValueError("not a report of a tenant")
        return cls(place, tables, problems, content)


def _text(told: Any) -> str:
    """What can be written into a log, whatever JSON can hold."""
    return str(told).encode(errors="replace").decode()


def prepare_tenant(environ: Mapping[str, str], name: str, versions: str) -> Report:
    """Take the image's manifest where it holds here, else make one; say which, and why."""
    folder = Path(environ["APOLLO_TENANTS_DIR"]) / name if "APOLLO_TENANTS_DIR" in environ else Path()
    try:
        workspace = open_workspace(environ, Places.find(environ, repository_root()), name)
        folder = workspace.tenant.folder
        baked_dir = Path(str(read(environ)["APOLLO_BAKED_DIR"]))
        if not take_baked(workspace, baked_dir):
            differing = what_differs(workspace, baked_dir / name)
            say(f"{name}: preparing for {workspace.values.target}: {differing}")
            prepare(workspace)
        content = content_key(folder, (workspace.prepared_dir / SLIM_FILE).read_bytes(), versions)
        tables = tuple(written_relations(load_prepared(workspace)))
        return Report(workspace.profile.place, tables, content=content)
    except ProblemsError as error:
        return Report(problems=error.problems, content=content_key(folder, b"", versions))
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


class ForkedForPreparing:
    """dbt as forks of this process, which has it imported: a project is parsed in the time that the parsing takes."""

    def __init__(self) -> None:
        self._forks: ForkedDbts | None = None

    def has_parsed(self, words: Sequence[str], folder: Path) -> bool:
        """Never: that is what it is for."""
        return False

    def command(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Command:
        """A dbt that is about to start."""
        self._forks = self._forks or ForkedDbts(folder, _be_dbt, keeps_targets=True)
        return self._forks.command(words, environment, folder)

    def close(self) -> None:
        """End what forks."""
        if self._forks:
            self._forks.close()


@contextmanager
def forking_dbt() -> Iterator[None]:
    """dbt is forked from this process as long as the block lasts."""
    forks = ForkedForPreparing()
    use_forks(forks)
    try:
        yield
    finally:
        forks.close()


def _be_dbt(request: Request, output: int) -> int:
    from dagster_apollo.warm.dbt_fork import be_dbt  # dbt is imported by then, or it is now

    return be_dbt(request, output, None, Path())


def main(line: Line, given: Mapping[str, Any]) -> int:
    """Prepare, and tell."""
    environ = dict(os.environ)
    if given["first"]:
        make_own_folders(Path(given["folder"]), repository_root())
    with forking_dbt():
        line.send(prepare_tenant(environ, environ[TENANT_VARIABLE], given["versions"]).as_fields())
    return 0


if __name__ == "__main__":
    connection = Line(socket.socket(fileno=int(sys.argv[1])))
    told = connection.receive()
    sys.exit(main(connection, told.fields) if told else 1)
