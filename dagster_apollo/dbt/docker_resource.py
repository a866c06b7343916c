"""`DbtDockerResource`: dbt in a container as a Dagster resource, for projects that know nothing of tenants.

What a tenant says in its `tenant.yaml` stands in the resource's own fields here, and dbt's events become the same
Dagster events. For a tenant the same is done by `workspace.py`; the component that uses this is `component.py`.

No `from __future__ import annotations` here: Dagster reads the annotations of a resource as objects.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtProject
from pydantic import Field

from dagster_apollo.dbt.dagster_dbt_internals import selection_for, validate_manifest
from dagster_apollo.dbt.in_container import TARGET_PATH, dbt_task
from dagster_apollo.dbt.stream import DagsterDbtEvent, DbtEvents
from dagster_apollo.errors import ContainerError
from dagster_apollo.execution.command import ContainerCommand
from dagster_apollo.execution.container import ContainerPlace, engine_variables
from dagster_apollo.execution.docker_runner import DockerRunner

_EVENTS = {
    "DBT_LOG_FORMAT": "json",
    "DBT_LOG_LEVEL": "debug",
    "DBT_LOG_LEVEL_FILE": "none",
    "DBT_QUIET": "false",
    "DBT_USE_COLORS": "false",
    "DBT_WRITE_JSON": "true",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "PYTHONUNBUFFERED": "1",
}


class DbtDockerResource(dg.ConfigurableResource, dg.Resolvable):  # type: ignore[type-arg]
    """Runs dbt in a container of an image that has dbt, and the project as its working folder."""

    image: str = Field(description="The image, with a tag or digest.")
    pull: Literal["NEVER", "IF_NOT_PRESENT", "ALWAYS"] = Field(
        "IF_NOT_PRESENT", description="When the image is pulled."
    )
    network: str | None = Field(None, description="The network it is attached to; unset: the engine's own.")
    volumes: list[str] = Field([], description="`volume-or-path:/inside[:ro]`.")
    environment: dict[str, str] = Field({}, description="Plain variables. No secrets.")
    variables: list[str] = Field([], description="Variables of this process that dbt is given too, secrets among them.")
    shared_folder: str | None = Field(
        None, description="A folder of this machine that is seen inside under the same path, as that of a DuckDB file."
    )
    memory_mb: int | None = Field(None, ge=64, description="The most memory it may use.")
    timeout_seconds: int = Field(3600, ge=1, description="The longest that it may run.")

    def execute_dbt_command(
        self,
        arguments: Sequence[str],
        *,
        context: dg.AssetExecutionContext,
        project: DbtProject,
        manifest: Mapping[str, Any] | None = None,
        dagster_dbt_translator: DagsterDbtTranslator | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Iterator[DagsterDbtEvent]:
        """Run dbt for what Dagster has selected, and yield Dagster's events as dbt reports.

        Args:
            arguments: the words after `dbt`, without a selection: that is Dagster's.
            context: of the asset that runs.
            project: the dbt project; its profile goes into the container, its artifacts are read and not kept.
            manifest: dbt's; by default the project's.
            dagster_dbt_translator: names the nodes.
            environ: the variables of this process; by default all of them.

        Raises:
            dagster.Failure: dbt failed, or its container: with dbt's or the engine's own words and what to do.
        """
        given = os.environ if environ is None else environ
        known = manifest or validate_manifest(project.manifest_path)
        translator = dagster_dbt_translator or DagsterDbtTranslator()
        selection, indirect = selection_for(context, known, translator)
        words = [*arguments, *selection]
        with tempfile.TemporaryDirectory(prefix="dbt-in-container-") as made:
            folder = Path(made)
            command = self._command(words, project, folder, given, indirect)
            context.log.info(f"dbt {' '.join(words)}, in a container of {self.image}")
            events = DbtEvents(known, translator, folder, command.bring, project=project)
            try:
                with closing(command.lines()) as lines:
                    yield from events.read(lines, context)
            except ContainerError as error:
                raise dg.Failure("\n".join(map(str, error.problems))) from None
            if command.returncode:
                told = "\n".join(dict.fromkeys(events.errors)) or f"it ended with exit code {command.returncode}"
                raise dg.Failure(f"dbt {words[0]} failed: {told}")

    def _command(
        self, words: Sequence[str], project: DbtProject, folder: Path, environ: Mapping[str, str], indirect: str | None
    ) -> ContainerCommand:
        profiles = Path(project.profiles_dir or project.project_dir) / "profiles.yml"
        chosen = {"DBT_TARGET": project.target, "DBT_PROFILE": project.profile, "DBT_INDIRECT_SELECTION": indirect}
        given = {name: environ[name] for name in self.variables if name in environ}
        task = dbt_task(
            words,
            {**_EVENTS, **{name: value for name, value in chosen.items() if value}, **given},
            folder=Path(project.project_dir),
            project_dir=Path(project.project_dir),
            profile=profiles.read_text(encoding="utf-8") if profiles.is_file() else None,
            target_path=folder,
            made_of=None,
        )
        return ContainerCommand(
            DockerRunner(self._place(project), engine_variables(environ)), task, {TARGET_PATH: folder}
        )

    def _place(self, project: DbtProject) -> ContainerPlace:
        return ContainerPlace(
            tenant=project.name,
            image=self.image,
            declared_in=f"the DbtDockerResource of {project.name}",
            locks_dir=Path(tempfile.gettempdir()) / f"dbt-containers-{os.getuid()}",
            pull=self.pull,
            network=self.network,
            volumes=tuple(self.volumes),
            environment=self.environment,
            memory_mb=self.memory_mb,
            timeout_seconds=self.timeout_seconds,
            shared_folder=Path(self.shared_folder) if self.shared_folder else None,
        )
