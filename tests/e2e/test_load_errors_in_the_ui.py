"""Broken tenants beside good ones in one stack: each of them shows its own fault, and the good ones are served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stack import COMMAND, Stack, StartStack, bare_environment
from tests.support.tenant_folders import TenantFolders, dbt_project

pytestmark = pytest.mark.slow

PLAIN = {"models/orders.sql": "select 1 as id\n"}
LOAD_ERRORS = """{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
    ... on PythonError { message causes { message } } } } } } }"""


def load_errors(stack: Stack) -> dict[str, str | None]:
    """Every code location with what the page shows of its load error and of that error's causes."""
    entries = stack.webserver.ask(LOAD_ERRORS)["workspaceOrError"]["locationEntries"]
    told: dict[str, str | None] = {}
    for entry in entries:
        error = entry["locationOrLoadError"] or {}
        messages = [error.get("message"), *(cause["message"] for cause in error.get("causes", []))]
        told[entry["name"]] = "\n".join(message for message in messages if message) or None
    return told


def test_broken_tenants_show_what_is_wrong_and_good_ones_are_served_and_built(
    folder: Path, start_stack: StartStack
) -> None:
    tenants = TenantFolders(folder)
    tenants.write("good", PLAIN)
    tenants.write("also_good", PLAIN)
    tenants.write("with-dash", PLAIN)
    tenants.write("misspelt", {**PLAIN, "tenant.yaml": "warehose: duckdb\n", "dbt_project.yml": dbt_project("my shop")})
    tenants.write("unparsed", {"models/orders.sql": "{{ ref('x' }}"})
    tenants.write("raises", {**PLAIN, "definitions.py": "raise RuntimeError('no such thing')\n"})
    tenants.write("exits", {**PLAIN, "definitions.py": "import os\nos._exit(7)\n"})

    stack = start_stack(
        bare_environment(folder, APOLLO_TENANTS_DIR=str(tenants.tenants_dir)), command=(*COMMAND, "--no-build")
    ).wait_until_ready()
    told = load_errors(stack)

    assert {name for name, error in told.items() if error is None} == {"good", "also_good"}
    assert "git mv 'tenants/with-dash' tenants/with_dash" in str(told["with-dash"])
    assert "warehose: there is no such field. Did you mean `warehouse`?" in str(told["misspelt"])
    assert "its `name` is 'my shop'" in str(told["misspelt"])
    assert "model orders (models/orders.sql)" in str(told["unparsed"])
    assert "definitions.py: cannot be imported: RuntimeError: no such thing" in str(told["raises"])
    assert "exits: its definitions cannot be loaded: its process ended with 7" in str(told["exits"])
    assert "raises: cannot be loaded: TenantError, tenants/raises/definitions.py; the webserver shows why" in stack.logs
    for name in ("good", "also_good"):
        run = stack.webserver.launch(name, f"{name}__build")
        stack.webserver.finish(run)
        assert stack.webserver.built(run) == {f"{name}/orders"}
