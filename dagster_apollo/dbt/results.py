"""What dbt did, held against what it was asked to do.

A run is green only when every node that was selected was built, passed, warned, or was skipped on purpose; a node
that dbt passed over in silence is a failure. Also here: saying in plain words what dbt's errors mean.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from dagster_apollo.dbt.manifest import is_asset, run_id, runs
from dagster_apollo.errors import Problem
from dagster_apollo.warehouse.profiles import Profile

# dbt's statuses of a node that did what it should; `no-op` is dbt's own word for nothing to do.
_GOOD = {"success", "pass", "warn", "no-op", "reused"}
_REFUSED_LOGIN = re.compile(
    r"JWT token is invalid|Incorrect username or password|\b(390\d{3}|25000\d|250001)\b|Failed to connect to DB"
    r"|User access disabled|specified in the connect string|HTTP 403"
)
_SHOWN = 20


def read_results(target_path: Path) -> dict[str, Mapping[str, Any]]:
    """`run_results.json` by dbt's unique id; empty when dbt ended before it wrote one."""
    try:
        results = orjson.loads((target_path / "run_results.json").read_bytes())["results"]
    except (OSError, ValueError, KeyError):
        return {}
    return {result["unique_id"]: result for result in results}


def held_to_selection(
    manifest: Mapping[str, Any],
    selected: Iterable[str],
    results: Mapping[str, Mapping[str, Any]],
    errors: Sequence[str],
    returncode: int | None,
) -> list[Problem]:
    """Everything that was selected and did not end well; then, what else dbt complained of.

    Args:
        manifest: the slim manifest.
        selected: the slim manifest's unique ids of what dbt was to run; ephemeral models among them do not count.
        results: dbt's results, by its own unique id.
        errors: the error events of the invocation.
        returncode: dbt's exit code.
    """
    failed, skipped, absent = [], [], []
    for unique_id in selected:
        node = manifest["nodes"][unique_id]
        if node["resource_type"] != "test" and not is_asset(node):
            continue
        result = results.get(run_id(unique_id))
        status = str(result["status"]).lower() if result else None
        if result is None:
            absent.append(unique_id)
        elif status == "skipped":
            skipped.append(unique_id)
        elif status not in _GOOD:
            failed.append(_problem(node, str(result.get("message") or status)))
    unforeseen = {run_id(unique_id) for unique_id in selected}
    failed += [
        Problem(unique_id, _one_line(str(result.get("message") or result["status"])), "See the run's log.")
        for unique_id, result in results.items()
        if unique_id not in unforeseen and str(result["status"]).lower() in ("error", "fail", "runtime error")
    ]
    problems = list(failed)
    if returncode and not failed:
        told = _one_line(" ".join(dict.fromkeys(errors))) or f"it ended with exit code {returncode}"
        problems.append(Problem("dbt", told, "See the run's log."))
    if skipped:
        problems.append(Problem(_names(manifest, skipped), "skipped, because of the above", "Build again once mended."))
    if absent and not (returncode and not results):
        remedy = "Prepare the tenant again; if it stays so, the selection and the manifest disagree."
        problems.append(Problem(_names(manifest, absent), "was selected, but dbt did not run it", remedy))
    return problems


def unfinished_nodes(
    manifest: Mapping[str, Any], selected: Iterable[str], results: Mapping[str, Mapping[str, Any]]
) -> set[str]:
    """What of the selected nodes failed, was skipped or was not run: what another attempt would have to do."""
    statuses = {unique_id: str(result["status"]).lower() for unique_id, result in results.items()}
    return {
        unique_id
        for unique_id in selected
        if runs(manifest["nodes"][unique_id]) and statuses.get(run_id(unique_id)) not in _GOOD
    }


def built_in_silence(
    manifest: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], reported: Collection[str]
) -> list[Problem]:
    """Assets that dbt built without an event of it: the run would be green with nothing recorded."""
    silent = [
        unique_id
        for unique_id, result in results.items()
        if unique_id in manifest["nodes"]
        and is_asset(manifest["nodes"][unique_id])
        and str(result["status"]).lower() == "success"
        and unique_id not in reported
    ]
    if not silent:
        return []
    remedy = "Its log is not the one that this version of the project reads: see docs/adr/0001."
    return [Problem(_names(manifest, silent), "was built, but dbt's log does not say so", remedy)]


def connection_refused(profile: Profile, errors: Collection[str]) -> Problem | None:
    """When the warehouse let nobody in: who asked, which dbt does not say."""
    told = next((error for error in errors if _REFUSED_LOGIN.search(error)), None)
    if not told or profile.adapter != "snowflake":
        return None
    return Problem(
        "Snowflake",
        f"refused the connection of {profile.identity}: {_one_line(told)}",
        "Compare the fingerprint with RSA_PUBLIC_KEY_FP of `DESC USER`, and the role with `SHOW GRANTS TO USER`; "
        "`apollo keys check` shows what the environment holds.",
    )


def _problem(node: Mapping[str, Any], message: str) -> Problem:
    kind = "test" if node["resource_type"] == "test" else node["resource_type"]
    return Problem(f"{kind} {node['name']}", _one_line(message), f"See {node['original_file_path']}.")


def _one_line(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= 2000 else f"{folded[:2000]} …"


def _names(manifest: Mapping[str, Any], unique_ids: Sequence[str]) -> str:
    names = [manifest["nodes"][unique_id]["name"] for unique_id in unique_ids]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
