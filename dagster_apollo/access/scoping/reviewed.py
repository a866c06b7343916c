"""Which root fields of Dagster's GraphQL schema, and which routes of its webserver, were reviewed, and for whom.

What is not listed is for administrators, so an upgrade adds nothing that others reach before somebody looked at it;
`tests/contracts/test_reviewed_dagster.py` names it. That a field may be asked does not mean that it answers: what it
shows is decided by the storages.
"""

from __future__ import annotations

from enum import Enum


class Audience(Enum):
    """Who may ask a field at all."""

    EVERYBODY = "everybody"
    OPERATORS = "operators"
    ADMINISTRATORS = "administrators"


QUERIES = frozenset(
    {
        "allTopLevelResourceDetailsOrError",
        "appManagedComponentsForLocationOrError",
        "assetBackfillPreview",
        "assetCheckExecutions",
        "assetConditionEvaluationForPartition",
        "assetConditionEvaluationRecordsOrError",
        "assetConditionEvaluationsForEvaluationId",
        "assetNodeAdditionalRequiredKeys",
        "assetNodeDefinitionCollisions",
        "assetNodeOrError",
        "assetNodes",
        "assetOrError",
        "assetRecordsOrError",
        "assetsLatestInfo",
        "assetsOrError",
        "autoMaterializeAssetEvaluationsOrError",
        "autoMaterializeEvaluationsForEvaluationId",
        "autoMaterializeTicks",
        "canBulkTerminate",
        "capturedLogs",
        "capturedLogsMetadata",
        "componentTypesForLocationOrError",
        "componentsForLocationOrError",
        "executionPlanOrError",
        "graphOrError",
        "instance",
        "instigationStateOrError",
        "instigationStatesOrError",
        "isPipelineConfigValid",
        "latestDefsStateInfo",
        "locationStatusesOrError",
        "logsForRun",
        "partitionBackfillOrError",
        "partitionBackfillsOrError",
        "partitionSetOrError",
        "partitionSetsOrError",
        "permissions",
        "pipelineOrError",
        "pipelineRunOrError",
        "pipelineRunsOrError",
        "pipelineSnapshotOrError",
        "repositoriesOrError",
        "repositoryOrError",
        "resourcesOrError",
        "runConfigSchemaOrError",
        "runGroupOrError",
        "runIdsOrError",
        "runOrError",
        "runTagKeysOrError",
        "runTagsOrError",
        "runsFeedCountOrError",
        "runsFeedOrError",
        "runsOrError",
        "scheduleOrError",
        "scheduler",
        "schedulesOrError",
        "sensorOrError",
        "sensorsOrError",
        "shouldShowNux",
        "test",
        "topLevelResourceDetailsOrError",
        "truePartitionsForAutomationConditionEvaluationNode",
        "utilizedEnvVarsOrError",
        "version",
        "workspaceLocationEntryOrError",
        "workspaceOrError",
    }
)
SUBSCRIPTIONS = frozenset({"capturedLogs", "locationStateChangeEvents", "pipelineRunLogs"})
# Refused to viewers; to operators by permission and storage, for every tenant that is not theirs.
MUTATIONS_OF_TENANTS = frozenset(
    {
        "addDynamicPartition",
        "cancelPartitionBackfill",
        "deleteAppManagedComponent",
        "deleteDynamicPartitions",
        "deletePipelineRun",
        "deleteRun",
        "freeConcurrencySlots",
        "freeConcurrencySlotsForRun",
        "launchMultipleRuns",
        "launchPartitionBackfill",
        "launchPipelineExecution",
        "launchPipelineReexecution",
        "launchRun",
        "launchRunReexecution",
        "reexecutePartitionBackfill",
        "refreshComponentState",
        "reloadRepositoryLocation",
        "reportAssetCheckEvaluations",
        "reportRunlessAssetEvents",
        "resetSchedule",
        "resetSensor",
        "resumePartitionBackfill",
        "scheduleDryRun",
        "sensorDryRun",
        "setAppManagedComponent",
        "setSensorCursor",
        "shutdownRepositoryLocation",
        "startSchedule",
        "startSensor",
        "stopRunningSchedule",
        "stopSensor",
        "terminatePipelineExecution",
        "terminateRun",
        "terminateRuns",
        "wipeAssets",
    }
)
# These change the whole stack, or check nothing at all.
MUTATIONS_OF_THE_STACK = frozenset(
    {
        "deleteConcurrencyLimit",
        "logTelemetry",
        "reloadWorkspace",
        "setAutoMaterializePaused",
        "setConcurrencyLimit",
        "setNuxSeen",
    }
)
# Paths as Dagster declares them. Static files of the UI are not listed: they tell of no tenant.
ROUTES = frozenset(
    {
        "/",
        "/dagit/notebook",
        "/dagit_info",
        "/download_debug/{run_id:str}",
        "/graphql",
        "/logs/{path:path}",
        "/notebook",
        "/report_asset_check/{asset_key:path}",
        "/report_asset_materialization/{asset_key:path}",
        "/report_asset_observation/{asset_key:path}",
        "/server_info",
        "/{path:path}",
    }
)


def audience_of(root: str, field: str) -> Audience:
    """Who may ask a root field.

    Args:
        root: the name of the root type: Query, Mutation or Subscription.
        field: the field's name.
    """
    if (root == "Query" and field in QUERIES) or (root == "Subscription" and field in SUBSCRIPTIONS):
        return Audience.EVERYBODY
    if root == "Mutation" and field in MUTATIONS_OF_TENANTS:
        return Audience.OPERATORS
    return Audience.ADMINISTRATORS
