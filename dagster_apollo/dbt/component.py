"""`CustomDbtProjectComponent`: dagster-dbt's component for a dbt project, whose dbt runs in a container.

For a `defs.yaml`, also outside of this repository; the fields of `container` are those of `DbtDockerResource`. All
else is dagster-dbt's own.

No `from __future__ import annotations` here: Dagster reads the annotations of a component as objects.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProjectComponent

from dagster_apollo.dbt.docker_resource import DbtDockerResource
from dagster_apollo.dbt.stream import DagsterDbtEvent


@dataclass(kw_only=True)
class CustomDbtProjectComponent(DbtProjectComponent):
    """A dbt project as assets, each materialized by dbt in a container.

    Example:

        .. code-block:: yaml

            type: dagster_apollo.dbt.component.CustomDbtProjectComponent
            attributes:
              project: "{{ project_root }}/transformations"
              container:
                image: transformations:1.4
                network: warehouse
    """

    container: Annotated[
        DbtDockerResource,
        dg.Resolver.default(
            description="The container that dbt runs in: image, pull, network, volumes, environment, variables, "
            "shared_folder, memory_mb, timeout_seconds.",
            examples=[{"image": "transformations:1.4", "memory_mb": 2048}],
        ),
    ] = field()

    def execute(self, context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[DagsterDbtEvent]:
        """Run dbt in the container; the resource of the native dbt is not used."""
        yield from self.container.execute_dbt_command(
            self.get_cli_args(context),
            context=context,
            project=self.dbt_project,
            dagster_dbt_translator=self.translator,
        )
