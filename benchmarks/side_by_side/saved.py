"""How long after a person saves a model it is on the page: `apollo dev`, and `dagster dev` told to reload at once.

On the embedded default of each, as a person starts it on a laptop, since that is where files are saved. What is looked
at is what the asset graph's page asks for. Nobody clicks as fast as the documented way's reload is asked for here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.side_by_side.bare import BIN, environment
from benchmarks.side_by_side.measures import Reading, SideName
from benchmarks.side_by_side.ours import TENANT_YAML
from benchmarks.side_by_side.projects import Project, copy_peer, write_for_peers
from benchmarks.side_by_side.runs import PAUSE_SECONDS, Found
from benchmarks.side_by_side.served import BenchmarkError, Webserver
from tests.support.ports import free_port
from tests.support.stack import COMMAND, REPOSITORY, Stack, bare_environment

TIMEOUT_SECONDS = 120.0
_LOOK_SECONDS = 0.05
_RELOAD = """mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  __typename ... on PythonError { message } } }"""


@dataclass(frozen=True)
class Edited:
    """A project that is served from files that a person edits.

    Attributes:
        models: the folder of its models.
        webserver: shows it.
        reload: what the person does after saving.
    """

    models: Path
    webserver: Webserver
    reload: Callable[[], object]

    def save(self, number: int) -> float:
        """Seconds from saving a new model until the page has it.

        Raises:
            BenchmarkError: it does not come.
        """
        name = f"saved_{number}"
        began = time.monotonic()
        (self.models / f"{name}.sql").write_text("select 1 as id\n")
        self.reload()
        while name not in self.webserver.names_of_assets():
            if time.monotonic() - began > TIMEOUT_SECONDS:
                raise BenchmarkError(f"a saved model is not on the page after {TIMEOUT_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - began


def measure(readings: frozenset[Reading], samples: int, folder: Path, found: Found) -> None:
    """Take the readings, the sides one after the other at each size.

    Args:
        readings: all of the quantity `saved`.
        samples: how many models are saved.
        folder: everything is below it; short, since unix sockets are.
        found: where the samples go.

    Raises:
        BenchmarkError: a side does not serve, or does not show what was saved.
    """
    for reading in sorted(readings):
        folder_of_one = folder / f"{reading.side[0]}{reading.size}"
        folder_of_one.mkdir(parents=True)
        with _SERVING[reading.side](folder_of_one, Project("edited", reading.size)) as edited:
            for number in range(samples):
                time.sleep(PAUSE_SECONDS)
                found.setdefault(reading, []).append(edited.save(number))


@contextlib.contextmanager
def _ours(folder: Path, project: Project) -> Iterator[Edited]:
    tenant = project.write(folder / "tenants" / project.name)
    (tenant / "tenant.yaml").write_text(TENANT_YAML)
    environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(tenant.parent))
    with _started([*COMMAND, "--no-build"], REPOSITORY, environ, project.name) as webserver:
        yield Edited(tenant / "models", webserver, lambda: None)


@contextlib.contextmanager
def _vanilla(folder: Path, project: Project) -> Iterator[Edited]:
    dbt_project = write_for_peers(project, folder / "dbt_project")
    copy_peer(folder)
    home = folder / "home"
    home.mkdir()
    port = str(free_port())
    environ = {
        **environment(folder / "user"),
        "DAGSTER_HOME": str(home),
        "DUCKDB_PATH": str(folder / "built.duckdb"),
        "PORT": port,
    }
    command = [str(BIN / "dagster"), "dev", "--port", port, "--python-file", "definitions.py"]
    with _started(command, folder, environ, "definitions.py") as webserver:
        yield Edited(dbt_project / "models", webserver, lambda: webserver.ask(_RELOAD, name="definitions.py"))


_SERVING: dict[SideName, Callable[[Path, Project], contextlib.AbstractContextManager[Edited]]] = {
    "ours": _ours,
    "vanilla": _vanilla,
}


@contextlib.contextmanager
def _started(command: Sequence[str], folder: Path, environ: dict[str, str], location: str) -> Iterator[Webserver]:
    """A command that serves a location, ended afterwards as Ctrl-C ends it."""
    stack = Stack.start(environ, command, folder)
    try:
        webserver = Webserver(stack.address)
        webserver.wait_until_loaded({location}, {"the stack": stack.process})
        yield webserver
    except BenchmarkError as error:
        raise BenchmarkError(f"{error}\n{stack.said[-2000:]}") from error
    finally:
        stack.kill()
