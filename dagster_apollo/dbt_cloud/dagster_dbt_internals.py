"""What we use of dagster-dbt's dbt Cloud part, and of Dagster under it, beyond public names, in this one place.

* `DbtCloudWorkspace` and `DbtCloudCredentials`: public, but in a module that is not.
* `DbtCloudWorkspaceClient`: the endpoints. Its `_make_request` is replaced (`client.py`): it gives up every answer for
  a sentence without a reason, and asks a second time for what may have been done.
* `DbtCloudJobRunResults`: turns `run_results.json` into Dagster events.
* `DAGSTER_ADHOC_PREFIX`: how the name begins of the job that Dagster's runs are runs of.
* `DefinitionsLoadContext`: whether definitions are made, or made again for a run, which must not ask dbt Cloud.

`tests/contracts/test_dbt_cloud_internals.py` names what an upgrade moves.
"""

from __future__ import annotations

from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster_dbt.asset_utils import (
    DAGSTER_DBT_CLOUD_ACCOUNT_ID_METADATA_KEY,
    DAGSTER_DBT_CLOUD_ENVIRONMENT_ID_METADATA_KEY,
    DAGSTER_DBT_CLOUD_PROJECT_ID_METADATA_KEY,
)
from dagster_dbt.cloud_v2.client import DbtCloudWorkspaceClient
from dagster_dbt.cloud_v2.resources import (
    DAGSTER_ADHOC_PREFIX,
    DbtCloudCredentials,
    DbtCloudWorkspace,
)
from dagster_dbt.cloud_v2.run_handler import DbtCloudJobRunResults
from dagster_dbt.cloud_v2.types import DbtCloudJobRunStatusType


def definitions_are_made_again() -> bool:
    """Whether this process only makes definitions again that a code server has made: it carries out a run."""
    return DefinitionsLoadContext.get().load_type is DefinitionsLoadType.RECONSTRUCTION


__all__ = [
    "DAGSTER_ADHOC_PREFIX",
    "DAGSTER_DBT_CLOUD_ACCOUNT_ID_METADATA_KEY",
    "DAGSTER_DBT_CLOUD_ENVIRONMENT_ID_METADATA_KEY",
    "DAGSTER_DBT_CLOUD_PROJECT_ID_METADATA_KEY",
    "DbtCloudCredentials",
    "DbtCloudJobRunResults",
    "DbtCloudJobRunStatusType",
    "DbtCloudWorkspace",
    "DbtCloudWorkspaceClient",
    "definitions_are_made_again",
]
