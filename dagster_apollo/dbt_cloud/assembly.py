"""What `warehouse: dbt_cloud` changes in a tenant's definitions, in one object that `definitions.py` asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dagster_apollo.dbt.translation import TenantTranslator
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.dbt_cloud.builds import CloudBuilds
from dagster_apollo.dbt_cloud.connection import Connection, connection_of
from dagster_apollo.dbt_cloud.dagster_dbt_internals import (
    DAGSTER_DBT_CLOUD_ACCOUNT_ID_METADATA_KEY,
    DAGSTER_DBT_CLOUD_ENVIRONMENT_ID_METADATA_KEY,
    DAGSTER_DBT_CLOUD_PROJECT_ID_METADATA_KEY,
    definitions_are_made_again,
)
from dagster_apollo.dbt_cloud.environment_state import Environment, find_environment
from dagster_apollo.dbt_cloud.job_trigger import JOB, job_trigger
from dagster_apollo.dbt_cloud.polling_sensor import SENSOR, polling_sensor
from dagster_apollo.tenant import DbtCloud

GROUP_TAG = "apollo/group"


@dataclass(frozen=True)
class CloudTenant:
    """A tenant whose models dbt Cloud builds.

    Attributes:
        tenant: its id.
        numbers: its environment.
        connection: None where there is no token.
        environment: what is known of it.
    """

    tenant: str
    numbers: DbtCloud
    connection: Connection | None
    environment: Environment

    @classmethod
    def of(cls, workspace: Workspace, own: Mapping[str, Any]) -> CloudTenant | None:
        """The part of dbt Cloud in a tenant; None for a tenant of another warehouse.

        Args:
            workspace: the tenant.
            own: the slim manifest of the project in its folder.

        Raises:
            SettingsError: a setting of the connection is missing or malformed.
            TenantError: nothing is known of the environment.
        """
        numbers = workspace.tenant.config.dbt_cloud
        if numbers is None:
            return None
        connection = connection_of(workspace.tenant, workspace.values)
        environment = find_environment(
            workspace.tenant.name,
            connection,
            workspace.prepared_dir,
            own,
            numbers.load_seconds,
            ask=not definitions_are_made_again(),
        )
        return cls(workspace.tenant.name, numbers, connection, environment)

    @property
    def builds(self) -> CloudBuilds:
        """What carries out dbt's commands."""
        state = self.environment.state
        return CloudBuilds(self.connection, state.adhoc_job_id if state else None)

    def marked(self, assets: dg.AssetsDefinition) -> dg.AssetsDefinition:
        """The same assets, shown as dbt Cloud's."""
        metadata = {
            DAGSTER_DBT_CLOUD_ACCOUNT_ID_METADATA_KEY: self.numbers.account_id,
            DAGSTER_DBT_CLOUD_PROJECT_ID_METADATA_KEY: self.numbers.project_id,
            DAGSTER_DBT_CLOUD_ENVIRONMENT_ID_METADATA_KEY: self.numbers.environment_id,
        }
        return assets.map_asset_specs(
            lambda spec: spec.replace_attributes(kinds={"dbtcloud", *spec.kinds} - {"dbt"}).merge_attributes(
                metadata=metadata
            )
        )

    def definitions(
        self, assets: dg.AssetsDefinition | None, manifest: Mapping[str, Any], translator: TenantTranslator, prefix: str
    ) -> dg.Definitions:
        """The sensor, the job, and what the location's page says of dbt Cloud.

        Args:
            assets: the models, which decide the group that these belong to.
            manifest: the slim manifest that is served.
            translator: names its nodes.
            prefix: before the names, where several tenants are merged.
        """
        groups = Counter(spec.group_name for spec in assets.specs if spec.group_name) if assets else Counter()
        tags = {GROUP_TAG: groups.most_common(1)[0][0]} if groups else {}
        sensor = polling_sensor(prefix + SENSOR, self.connection, manifest, translator, self.numbers.poll_seconds, tags)
        return dg.Definitions(
            sensors=[sensor],
            jobs=[job_trigger(prefix + JOB, self.tenant, self.connection, tags)],
            metadata={"dbt Cloud": self._told()},
        )

    def _told(self) -> str:
        state = self.environment.state
        if self.environment.notice or not state:
            return self.environment.notice
        return f"{state.place}, read {state.read_at:%Y-%m-%d %H:%M} UTC"
