"""dbt's event stream as Dagster events.

The events are dagster-dbt's own. Added to them: what only dbt's debug events know (rows affected), the compiled SQL
and the relation that was really written; unit tests as check results. Where the lines come from, a process or a
container, is not known here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import dagster as dg
import orjson
from dagster_dbt import DagsterDbtTranslator, DbtProject

from dagster_apollo.dbt.dagster_dbt_internals import DbtCoreCliEventMessage
from dagster_apollo.dbt.manifest import slim_id

_ROW_COUNT = re.compile(r"row_count: ([0-9]{1,18})")
# What is read of all that dbt says for debugging: how a node's result came to be, and what its own hook logged.
DEBUG_EVENTS = frozenset({"NodeFinished", "JinjaLogDebug"})
# A compiled model of more characters than this is cut: the event log keeps every one of them for every run.
COMPILED_SQL_CHARACTERS = 8000

DagsterDbtEvent = (
    dg.Output[Any] | dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckResult | dg.AssetCheckEvaluation
)


@dataclass
class DbtEvents:
    """Reads one invocation's lines; afterwards it knows what dbt called an error.

    Attributes:
        manifest: the slim manifest.
        translator: names the nodes.
        target_path: where dbt compiles to.
        bring: has a file that dbt has just written there come there, when dbt runs elsewhere.
        whole_log: what dbt logs for debugging, the SQL that it sends among it, goes to standard error.
        project: for a translator that asks for it, as a component's does.
        errors: the text of every error event, in order.
        reported: the slim manifest's unique ids of the nodes that dbt reported the end of.
    """

    manifest: Mapping[str, Any]
    translator: DagsterDbtTranslator
    target_path: Path
    bring: Callable[[Path], None] = lambda _: None
    whole_log: bool = False
    project: DbtProject | None = None
    errors: list[str] = field(default_factory=list)
    reported: set[str] = field(default_factory=set)
    _row_counts: dict[str, int] = field(default_factory=dict, repr=False)

    def read(
        self, lines: Iterable[str], context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext
    ) -> Iterator[DagsterDbtEvent]:
        """Dagster's events, one by one as dbt reports; what a person would read goes to standard output."""
        waiting: dict[str, dict[str, Any]] = {}
        for line in lines:
            event = self._parse(line)
            if event is None:
                continue
            node = event["data"].get("node_info") or {}
            node_id = node.get("unique_id")
            if event["info"]["name"] == "NodeFinished" and node_id in waiting:
                yield from self._translate(waiting.pop(node_id), context, event)
            elif node_id and (counted := _row_count(event)) is not None:
                self._row_counts[slim_id(node_id)] = counted
            elif _is_result(event) and node_id:
                waiting[node_id] = event  # the rows follow in NodeFinished, a moment later
        for event in waiting.values():
            yield from self._translate(event, context, None)

    def _parse(self, line: str) -> dict[str, Any] | None:
        try:
            event: dict[str, Any] = orjson.loads(line)
            level, message = event["info"]["level"], event["info"]["msg"]
        except (ValueError, KeyError, TypeError):
            if line:
                _tell(line)
                self.errors += [] if line.startswith((" ", "Traceback")) else [line]
            return None
        if level == "error":
            self.errors.append(message)
        if level != "debug":
            _tell(message)
        elif self.whole_log:
            _tell(message, sys.stderr)
        return event

    def _translate(
        self,
        event: dict[str, Any],
        context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
        finished: Mapping[str, Any] | None,
    ) -> Iterator[DagsterDbtEvent]:
        node_id = slim_id(event["data"]["node_info"]["unique_id"])
        if node_id not in self.manifest["nodes"]:
            return  # a hook, or a node of another target than the one that was prepared
        self.reported.add(node_id)
        event["data"]["node_info"]["unique_id"] = node_id
        message = DbtCoreCliEventMessage(raw_event=event, event_history_metadata={})
        for result in message.to_default_asset_events(
            manifest=self.manifest,
            dagster_dbt_translator=self.translator,
            # A check's own context lacks what is asked of it here.
            context=context if isinstance(context, dg.AssetExecutionContext) else context.op_execution_context,
            target_path=self.target_path,
            project=self.project,
        ):
            if isinstance(result, dg.Output):
                yield result.with_metadata({**result.metadata, **self._metadata(node_id, event, finished)})
            else:
                yield result

    def _metadata(
        self, node_id: str, event: Mapping[str, Any], finished: Mapping[str, Any] | None
    ) -> dict[str, dg.MetadataValue]:
        node = self.manifest["nodes"][node_id]
        metadata: dict[str, dg.MetadataValue] = {}
        response = ((finished or {}).get("data", {}).get("run_result") or {}).get("adapter_response") or {}
        if isinstance(rows := response.get("rows_affected"), int | float) and rows >= 0:
            metadata["rows_affected"] = dg.MetadataValue.int(int(rows))
        if (counted := self._row_counts.get(node_id)) is not None:
            metadata["dagster/row_count"] = dg.MetadataValue.int(counted)
        written = (event["data"]["node_info"].get("node_relation") or {}).get("relation_name")
        if written:
            metadata["relation"] = dg.MetadataValue.text(written)
        if sql := self._compiled_sql(node):
            metadata["compiled_sql"] = dg.MetadataValue.md(f"```sql\n{sql}\n```")
        return metadata

    def _compiled_sql(self, node: Mapping[str, Any]) -> str | None:
        file = self.target_path.joinpath("compiled", str(node["package_name"]), str(node["original_file_path"]))
        if node["resource_type"] != "seed":
            self.bring(file)
        try:
            sql = file.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        cut = f"\n-- … {len(sql) - COMPILED_SQL_CHARACTERS} characters more"
        return sql if len(sql) <= COMPILED_SQL_CHARACTERS else sql[:COMPILED_SQL_CHARACTERS] + cut


def _row_count(event: Mapping[str, Any]) -> int | None:
    """What a model's own hook counted, by `log("row_count: 12")`: not every adapter tells dbt how much it wrote."""
    if event["info"]["name"] not in ("JinjaLogDebug", "JinjaLogInfo"):
        return None
    told = _ROW_COUNT.fullmatch(str(event["info"]["msg"]).strip())
    return int(told[1]) if told else None


def _is_result(event: Mapping[str, Any]) -> bool:
    return event["info"]["name"] in ("LogSeedResult", "LogModelResult", "LogSnapshotResult", "LogTestResult")


def _tell(message: str, out: TextIO | None = None) -> None:
    out = out or sys.stdout
    out.write(f"{message}\n")
    out.flush()
