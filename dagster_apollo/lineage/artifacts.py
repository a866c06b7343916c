"""From what one dbt invocation left behind to OpenLineage's events: a run of each model, and of the tests on it.

OpenLineage's own artifact processor makes the events. It knows models and snapshots; here seeds are put before it as
models, ephemeral models are looked through, and jobs, tables and columns are given their names. Pure: artifacts go in,
events come out; sending is `sending.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    data_quality_metrics_input_dataset,
    datasource_dataset,
    error_message_run,
    job_type_job,
    nominal_time_run,
    schema_dataset,
)
from openlineage.common.provider.dbt.facets import DbtRunRunFacet, ParentRunMetadata
from openlineage.common.provider.dbt.processor import DbtArtifactProcessor, ModelNode

from dagster_apollo.lineage.columns import Origin, Table, column_origins
from dagster_apollo.lineage.datasets import Warehouse

# dbt's words for how a node ended, in the processor's; what was skipped or had nothing to do is no run.
_STATUSES = {
    "success": "success",
    "pass": "pass",
    "warn": "warn",
    "fail": "fail",
    "error": "error",
    "runtime error": "error",
    "partial success": "error",
}
_JOB_TYPES = {"seed": "SEED", "snapshot": "SNAPSHOT", "model": "MODEL"}
# A message of more characters than this is cut: a database may repeat the whole statement in it.
_MESSAGE_CHARACTERS = 4000


@dataclass(frozen=True)
class Invocation:
    """One dbt invocation, as it left `manifest.json` and `run_results.json`.

    Attributes:
        manifest: dbt's manifest, whole.
        results: dbt's results, whole.
        warehouse: where its tables lie.
    """

    manifest: Mapping[str, Any]
    results: Mapping[str, Any]
    warehouse: Warehouse


@dataclass(frozen=True)
class RunNames:
    """What an OpenLineage event says of the run that it belongs to.

    Attributes:
        namespace: the namespace of all jobs.
        tenant: the tenant, the first part of each job's name.
        job: the Dagster run's job, without namespace.
        run_id: Dagster's run id, a UUID.
        producer: a URI of the program that tells it.
        partitions: the time that the run is about, where its assets are partitioned: first instant and last.
    """

    namespace: str
    tenant: str
    job: str
    run_id: str
    producer: str
    partitions: tuple[datetime, datetime] | None = None

    def nominal_time(self) -> dict[str, nominal_time_run.NominalTimeRunFacet]:
        """The facet of the partitions, if there are any."""
        if self.partitions is None:
            return {}
        start, end = (moment.isoformat() for moment in self.partitions)
        return {"nominalTime": nominal_time_run.NominalTimeRunFacet(nominalStartTime=start, nominalEndTime=end)}


def events_of(invocation: Invocation, names: RunNames) -> list[RunEvent]:
    """Start and end of every node that dbt built, and of the tests on each, in the order in which dbt ran them."""
    return _Processor(invocation, names).events()


class _Processor(DbtArtifactProcessor):
    def __init__(self, invocation: Invocation, names: RunNames) -> None:
        super().__init__(names.producer, names.namespace, logger=logging.getLogger(__name__))
        self.dbt_run_metadata = ParentRunMetadata(names.run_id, names.job, names.namespace)
        self._names = names
        self._warehouse = invocation.warehouse
        self._whole = invocation.manifest
        self._run_results = invocation.results
        self._nodes: dict[str, Mapping[str, Any]] = {**self._whole["nodes"], **self._whole["sources"]}
        self._by_table = {_table(node): node for node in self._nodes.values() if _is_table(node)}
        self._columns = {
            table: [column["name"] for column in node["columns"].values()]
            for table, node in self._by_table.items()
            if node.get("columns")
        }
        self._origins: dict[Table, dict[str, tuple[Origin, ...]]] = {}
        self._building: Table = ("", "", "")
        self._messages: dict[str, str] = {}
        self._rows: dict[str, int] = {}

    def events(self) -> list[RunEvent]:
        """The processor's events under our names, each start directly before its end."""
        made = self.parse()
        ends = {event.run.runId: event for event in (*made.completes, *made.fails)}
        started = sorted(made.starts, key=lambda event: str(event.eventTime))
        return [self._finished(event) for start in started for event in (start, ends[start.run.runId])]

    # What follows is asked for, or decided otherwise, by the base class.

    def get_dbt_metadata(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], None]:
        """What dbt left behind, as far as this invocation touched it, in the processor's terms."""
        nodes: dict[str, dict[str, Any]] = {}
        sources: dict[str, dict[str, Any]] = {}
        parents: dict[str, list[str]] = {}
        results = []
        for result in self._run_results["results"]:
            unique_id, status = result["unique_id"], _STATUSES.get(str(result["status"]).lower())
            if unique_id not in self._nodes or status is None:
                continue
            key = _key(unique_id)
            results.append({**result, "unique_id": key, "status": status, "adapter_response": self._learn(result)})
            parents[key] = [_key(parent) for parent in self._parents(unique_id)]
            for wanted in (unique_id, *self._parents(unique_id)):
                node = self._nodes[wanted]
                (sources if wanted.startswith("source.") else nodes)[_key(wanted)] = dict(node)
        for result in results:  # the manifest may be from before dbt compiled
            nodes[result["unique_id"]]["compiled_code"] = result.get("compiled_code")
        manifest = {
            "metadata": self._whole["metadata"],
            "nodes": nodes,
            "sources": sources,
            "parent_map": parents,
            "exposures": self._whole.get("exposures", {}),
        }
        return manifest, {**self._run_results, "results": results}, {"type": self._warehouse.dialect}, None

    def extract_namespace(self, profile: dict[str, Any]) -> str:
        """The namespace of most tables."""
        return self._warehouse.place.namespace

    def extract_dataset_data(
        self, node: ModelNode, assertions: Any, has_facets: bool = False
    ) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
        """A table's namespace, name and facets."""
        _, _, facets, input_facets = super().extract_dataset_data(node, assertions, has_facets)
        namespace, name = self._warehouse.name(node.metadata_node)
        if has_facets:
            facets["dataSource"] = datasource_dataset.DatasourceDatasetFacet(name=namespace, uri=namespace)
            if fields := self._fields(node.metadata_node):
                facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)
        return namespace, name, facets, input_facets

    def node_to_output_dataset(
        self, node: ModelNode, has_facets: bool = False, adapter_response: dict[str, Any] | None = None
    ) -> OutputDataset:
        """The table that a node wrote."""
        self._building = _table(node.metadata_node)
        if sql := node.metadata_node.get("compiled_code"):
            found = column_origins(str(sql), self._warehouse.dialect, self._columns)
            self._origins[self._building] = found
            declared = self._columns.get(self._building, [])
            known = {column.lower() for column in declared}
            self._columns[self._building] = [*declared, *(column for column in found if column.lower() not in known)]
        written: OutputDataset = super().node_to_output_dataset(node, has_facets, adapter_response)
        return written

    def get_column_lineage(
        self, namespace: str, compiled_sql: str
    ) -> column_lineage_dataset.ColumnLineageDatasetFacet | None:
        """The columns of the table that is being written, each with what it is made of."""
        fields = {}
        for column, origins in self._origins.get(self._building, {}).items():
            inputs = [field for origin in origins if (field := self._input_field(origin))]
            if inputs:
                spelt = _spelt(column, self._columns.get(self._building, []))
                fields[spelt] = column_lineage_dataset.Fields(inputFields=inputs)
        return column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields) if fields else None

    def dbt_run_run_facet(self) -> dict[str, DbtRunRunFacet]:
        """Which invocation of dbt it was."""
        metadata = self._run_results["metadata"]
        project = self._whole["metadata"].get("project_name")
        return {
            "dbt_run": DbtRunRunFacet(
                invocation_id=metadata["invocation_id"],
                project_name=project,
                dbt_runtime="core",
                full_refresh=self.full_refresh,
            )
        }

    # What only we know.

    def _learn(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Remember what became of a node; returns what the processor can read of the warehouse's answer."""
        response = {key: value for key, value in (result.get("adapter_response") or {}).items() if value is not None}
        rows = response.pop("rows_affected", None)
        if isinstance(rows, int | float) and rows >= 0:
            response["rows_affected"] = int(rows)
            node = self._nodes[result["unique_id"]]
            if node["resource_type"] == "seed" or node["config"].get("materialized") == "table":
                self._rows[result["unique_id"]] = int(rows)  # else they are not all of the table's
        if result.get("message"):
            self._messages[result["unique_id"]] = str(result["message"])[:_MESSAGE_CHARACTERS]
        return response

    def _parents(self, unique_id: str) -> list[str]:
        """The tables that a node reads; for a test that stands on one, that one."""
        node = self._nodes[unique_id]
        above = [node["attached_node"]] if node.get("attached_node") else self._whole["parent_map"].get(unique_id, [])
        found: list[str] = []
        for parent in above:
            if _is_table(self._nodes.get(parent, {})):
                found.append(parent)
            elif parent in self._nodes and parent.startswith("model."):  # an ephemeral one
                found += self._parents(parent)
        return list(dict.fromkeys(found))

    def _fields(self, node: Mapping[str, Any]) -> list[schema_dataset.SchemaDatasetFacetFields]:
        declared = {column["name"].lower(): column for column in node.get("columns", {}).values()}
        return [
            schema_dataset.SchemaDatasetFacetFields(
                name=name,
                type=declared.get(name.lower(), {}).get("data_type"),
                description=declared.get(name.lower(), {}).get("description") or None,
            )
            for name in self._columns.get(_table(node), [])
        ]

    def _input_field(self, origin: Origin) -> column_lineage_dataset.InputField | None:
        node = self._by_table.get(origin.table)
        if node is None:  # a table that dbt was not told of, whose full name nobody knows
            return None
        namespace, name = self._warehouse.name(node)
        field = _spelt(origin.column, self._columns.get(origin.table, []))
        return column_lineage_dataset.InputField(namespace=namespace, name=name, field=field)

    def _finished(self, event: RunEvent) -> RunEvent:
        """The event with our job's name, the partitions' time, an error's text and the counts of tests."""
        facets: dict[str, Any] = dict(event.job.facets or {})
        unique_id = facets["dbt_node"].unique_id
        node = self._nodes[unique_id]
        job_type = facets["jobType"]
        of_tests = job_type.jobType == "TEST" and node["resource_type"] != "test"
        if job_type.jobType != "TEST":
            facets["jobType"] = job_type_job.JobTypeJobFacet(
                jobType=_JOB_TYPES[node["resource_type"]], integration="DBT", processingType="BATCH"
            )
        event.job = Job(self._names.namespace, f"{self._names.tenant}.{unique_id}{'.test' * of_tests}", facets)
        run_facets = {**(event.run.facets or {}), **self._names.nominal_time()}
        if event.eventType == RunState.FAIL and not of_tests and unique_id in self._messages:
            message = self._messages[unique_id]
            run_facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "SQL")
        event.run = Run(event.run.runId, run_facets)
        for dataset in event.inputs or [] if of_tests else []:
            self._count(dataset, self._rows.get(unique_id))
        return event

    def _count(self, dataset: InputDataset, rows: int | None) -> None:
        """Put the counts beside the tests' outcomes: nulls, which a `not_null` test counts, and rows."""
        facets: dict[str, Any] = dict(dataset.inputFacets or {})
        nulls = {
            assertion.column: data_quality_metrics_input_dataset.ColumnMetrics(nullCount=int(assertion.actual))
            for assertion in facets["dataQualityAssertions"].assertions
            if assertion.assertion == "not_null" and assertion.column and assertion.actual is not None
        }
        if nulls or rows is not None:
            facets["dataQualityMetrics"] = data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
                columnMetrics=nulls, rowCount=rows
            )
            dataset.inputFacets = facets


def _key(unique_id: str) -> str:
    """A node's id as the processor takes it, which has no word for a seed and none for a snapshot that is read."""
    return f"model.{unique_id}" if unique_id.startswith(("seed.", "snapshot.")) else unique_id


def _is_table(node: Mapping[str, Any]) -> bool:
    kind = node.get("resource_type")
    return kind == "source" or (kind in _JOB_TYPES and node["config"].get("materialized") != "ephemeral")


def _table(node: Mapping[str, Any]) -> Table:
    name = node.get("identifier") or node.get("alias") or node["name"]
    return (str(node.get("database") or "").lower(), str(node.get("schema") or "").lower(), str(name).lower())


def _spelt(column: str, known: Sequence[str]) -> str:
    """A column as it is declared: parsers fold names as the warehouse does."""
    return next((name for name in known if name.lower() == column.lower()), column)
