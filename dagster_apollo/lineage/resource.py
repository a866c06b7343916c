"""The seam to Dagster: a resource that follows a run from its start to its end, and the one call by which a step says
that dbt has run.

A resource, since Dagster closes it when the last step has ended. There is none where no receiver is set. The library
of OpenLineage is imported by runs alone: it takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg
import yaml

from dagster_apollo.errors import Problem, SettingsError
from dagster_apollo.settings import Values

if TYPE_CHECKING:
    from dagster_apollo.lineage.run import RunLineage


def resource_keys(tenant: str, values: Values) -> set[str]:
    """The resources that a step needs which runs a tenant's dbt: one, or none where nobody collects lineage."""
    return {_key(tenant)} if values["OPENLINEAGE_URL"] else set()


def resources(
    tenant: str, values: Values, profile: str, fork: str, timezone: str = "UTC"
) -> Mapping[str, dg.ResourceDefinition]:
    """The resource of one tenant, if there is a receiver.

    Args:
        tenant: the tenant's id.
        values: the settings as the tenant sees them.
        profile: the text of its `profiles.yml`.
        fork: the fork's name, the namespace of jobs unless a setting gives another.
        timezone: the IANA time zone of its daily partitions.

    Raises:
        SettingsError: when OPENLINEAGE_URL is no address, or holds a secret.
    """
    url = values.text("OPENLINEAGE_URL")
    if not url:
        return {}
    if problem := _url_problem(values.source("OPENLINEAGE_URL", tenant), url):
        raise SettingsError([problem])
    namespace = values.text("OPENLINEAGE_NAMESPACE") or fork
    api_key = values.text("OPENLINEAGE_API_KEY")
    [read] = yaml.safe_load(profile).values()

    def run_lineage(context: dg.InitResourceContext) -> Iterator[RunLineage]:
        from dagster_apollo.lineage.run import RunLineage
        from dagster_apollo.lineage.sending import Receiver

        lineage = RunLineage(context, tenant, namespace, Receiver(url, api_key), read, timezone)
        lineage.started()
        yield lineage
        lineage.ended()

    return {_key(tenant): dg.ResourceDefinition(run_lineage, description="OpenLineage's events of a run.")}


def tell(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, tenant: str, target_path: Path) -> None:
    """Say what a dbt invocation did, of which the artifacts are still there; returns at once, and never raises."""
    op = context if isinstance(context, dg.AssetExecutionContext) else context.op_execution_context
    lineage = getattr(op.resources, _key(tenant), None)
    if lineage is not None:
        lineage.built(target_path)


def _key(tenant: str) -> str:
    return f"{tenant}__openlineage"  # a tenant's own: definitions of several are merged


def _url_problem(variable: str, url: str) -> Problem | None:
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        plain = False
        parts = urlsplit("")
    if not plain:
        return Problem(variable, "is not `http://host:port` or `https://host`", "Give it in that form.")
    if parts.username or parts.password or parts.query or parts.fragment:
        remedy = "Give the address alone, and a key as OPENLINEAGE_API_KEY."
        return Problem(variable, "holds more than an address, which messages would show", remedy)
    return None
