"""A run's own process elsewhere, before it executes: its folders, its tenant's manifest; then `executing.py` by exec.

Started as the tenant's user with the tenant's variables alone. Dagster is not imported here: what was needed to prepare
is given back. What keeps the tenant from being served is what the run then fails with.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from dagster_apollo.code_host.preparing import make_own_folders, prepare_tenant
from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.execution.process import end_with_parent
from dagster_apollo.host.role import REFUSED_VARIABLE, TENANT_VARIABLE


def main(run_id: str) -> None:
    """Prepare, then execute."""
    end_with_parent()
    environ = dict(os.environ)
    make_own_folders(Path(environ["APOLLO_STATE_DIR"]), repository_root())
    told = prepare_tenant(environ, environ[TENANT_VARIABLE], "")
    if told.problems:
        environ[REFUSED_VARIABLE] = json.dumps([problem.as_dict() for problem in told.problems[:50]])
    os.chdir(environ["DAGSTER_HOME"])  # not in the repository: Dagster would read its `.env`
    command = [sys.executable, "-m", "dagster_apollo.elsewhere.executing", run_id]
    os.execve(command[0], command, environ)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
