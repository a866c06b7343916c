"""A tenant's own programs as steps of its assets: run where its `tenant.yaml` says, told of by Dagster Pipes.

The resource `commands` that every tenant's `definitions.py` may ask for. A program reports materializations, metadata
and checks with `dagster_pipes` on its output, so that it needs no file or network in common with Dagster and reports
alike from a child process and from a container. How words become either is `dbt/workspace.py`'s.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import json
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import dagster as dg
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesDefaultMessageWriter, PipesParams

from dagster_apollo.dbt.assets import failure
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import Problem, ProblemsError

_KEPT_LINES = 20


class TenantCommands:
    """Runs programs of tenants: of the one whose asset asks, since one resource serves all that are merged.

    In the `definitions.py` of a tenant `acme` with a program `count.py` in its folder:

        @dg.asset(key=["acme", "counted"])
        def counted(context: dg.AssetExecutionContext, commands: dg.ResourceParam[TenantCommands]):
            yield from commands.run(context, ["python", "count.py"])

    """

    def __init__(self) -> None:
        self._workspaces: dict[str, Workspace] = {}

    def serve(self, workspace: Workspace) -> None:
        """Run programs of this tenant too."""
        self._workspaces[workspace.tenant.name] = workspace

    def run(self, context: dg.AssetExecutionContext, words: Sequence[str]) -> Iterator[Any]:
        """Run a program to its end and yield what it reported.

        It runs in the tenant's folder with the tenant's variables, its secrets among them. What it prints beside its
        reports goes to the step's output. An asset of the step that it does not report is reported in its place.

        Args:
            context: the step's.
            words: the program and its arguments; `python` is the Python of the place where it runs. No secrets.

        Raises:
            dagster.Failure: it cannot be started, does not end by itself, or ends with another exit code than 0, with
                the last line that it printed.
        """
        reader = _OutputReader()
        workspace = self._workspaces[_tenant(context.assets_def)]
        context.log.info(f"{' '.join(words)}{workspace.where}")
        with dg.open_pipes_session(context, dg.PipesEnvContextInjector(), reader) as session:
            running = workspace.command(words, session.get_bootstrap_env_vars(), run_id=context.run.run_id)
            try:
                with closing(running.lines()) as lines:
                    for number, line in enumerate(lines):
                        if not number:
                            for note in running.notes:
                                context.log.info(note)
                        reader.read(line)
            except ProblemsError as error:
                raise failure(error.problems) from error
            if running.returncode:
                told = reader.printed[-1] if reader.printed else f"it ended with exit code {running.returncode}"
                raise failure([Problem(" ".join(words), told, "See the step's output.")])
        yield from session.get_results()


def _tenant(assets: dg.AssetsDefinition) -> str:
    """Whose they are: all keys begin with the tenant's name."""
    return next(iter([*assets.keys, *(check.asset_key for check in assets.check_keys)])).path[0]


class _OutputReader(dg.PipesMessageReader):
    """Tells reports from other lines of an output that is read line by line."""

    def __init__(self) -> None:
        self.printed: deque[str] = deque(maxlen=_KEPT_LINES)
        self._handler: Any = None

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[PipesParams]:
        self._handler = handler
        yield {PipesDefaultMessageWriter.STDIO_KEY: PipesDefaultMessageWriter.STDOUT}

    @property
    def expected_writer_count(self) -> int:
        """One program writes. Dagster's own answer is the same, with a warning that it is in preview."""
        return 1

    def read(self, line: str) -> None:
        """Hand a report to Dagster, and print what is none."""
        if line.startswith("{"):
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict) and PIPES_PROTOCOL_VERSION_FIELD in message:
                self._handler.handle_message(message)
                return
        if line.strip():
            self.printed.append(line.strip())
        sys.stdout.write(f"{line}\n")

    def no_messages_debug_text(self) -> str:
        return "Reports were looked for among the lines of the program's output."
