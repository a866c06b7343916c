"""Retries within a run: dbt started once more, after a wait, for what failed and for what was skipped by it.

What carries out dbt's words is not known here. A run that failed as a whole is taken up by Dagster's daemon instead:
`schedules.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from dagster_apollo.dbt.manifest import selection_names
from dagster_apollo.dbt.stream import DagsterDbtEvent
from dagster_apollo.dbt.translation import TenantTranslator
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import Problem
from dagster_apollo.execution.arguments import Build

# What carries out dbt's words: it yields the events of what was selected, or fails.
Invoke = Callable[
    [
        dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
        Workspace,
        Mapping[str, Any],
        TenantTranslator,
        Collection[str],
        Sequence[str],
    ],
    Iterator[DagsterDbtEvent],
]


class UnfinishedError(dg.Failure):
    """dbt ran, and not all that was selected ended well.

    Attributes:
        nodes: the slim manifest's unique ids of what another attempt would have to do; empty: it would be in vain.
    """

    def __init__(self, problems: Sequence[Problem], nodes: Collection[str]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.nodes = nodes


def with_retries(
    run_dbt: Invoke,
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    manifest: Mapping[str, Any],
    translator: TenantTranslator,
    selected: Collection[str],
    command: Callable[[Build], list[str]],
    chosen: Build,
) -> Iterator[DagsterDbtEvent]:
    """Run dbt, as often as `retries.max_retries` of the tenant allows.

    A check that failed is told by the last attempt alone: Dagster takes one result of it a step, and so do people.

    Args:
        run_dbt: carries out the words.
        context: of the step.
        workspace: the tenant.
        manifest: its slim manifest.
        translator: names its nodes.
        selected: the slim manifest's unique ids of what is to be done.
        command: from what is wanted to dbt's words.
        chosen: what is wanted, `selected` named in it.

    Raises:
        UnfinishedError: the last attempt's.
    """
    retries = workspace.tenant.config.retries
    for left in reversed(range(retries.max_retries + 1)):
        failed_checks: list[DagsterDbtEvent] = []
        try:
            for event in run_dbt(context, workspace, manifest, translator, selected, command(chosen)):
                if left and _is_failed_check(event):
                    failed_checks.append(event)
                else:
                    yield event
        except UnfinishedError as unfinished:
            if not left or not unfinished.nodes:
                yield from failed_checks
                raise
            selected = unfinished.nodes
            chosen = replace(chosen, select=selection_names(manifest, selected))
            attempt = f"attempt {retries.max_retries - left + 2} of {retries.max_retries + 1}"
            again = f"dbt is started again in {retries.delay_seconds} s, {attempt}, for what is not done"
            context.log.warning(f"{again}:\n{unfinished.description}")
            time.sleep(retries.delay_seconds)
        except dg.Failure:
            yield from failed_checks
            raise
        else:
            yield from failed_checks
            return


def _is_failed_check(event: DagsterDbtEvent) -> bool:
    """Whether dbt would run this test again: one that only warns is done."""
    return (
        isinstance(event, dg.AssetCheckResult | dg.AssetCheckEvaluation)
        and not event.passed
        and event.severity == dg.AssetCheckSeverity.ERROR
    )
