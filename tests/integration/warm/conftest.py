"""What the tests of warm tenants share: a tenant in its own process, and an instance that its runs are recorded in.

A module's tests share one tenant: to import, prepare and warm takes longer than all their runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.support.dagster_origins import created_run
from tests.support.tenant_folders import TenantFolders
from tests.support.warm_tenant import WarmTenant

TENANT = "shop"


@dataclass(frozen=True)
class Shop:
    """A warm tenant.

    Attributes:
        folders: its folder, state and database.
        definitions: what its location serves.
        instance: where its runs are recorded.
        warm: its process.
    """

    folders: TenantFolders
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    warm: WarmTenant

    def created(self, job: str = f"{TENANT}__build", **config: Any) -> dg.DagsterRun:
        """A run that is not yet launched, of its build job or another; `config` is the launchpad's for dbt."""
        run_config = {"ops": {f"{TENANT}__dbt_build": {"config": config}}} if config else {}
        return created_run(self.instance, self.definitions, job, run_config=run_config)

    def built(self, **config: Any) -> dg.DagsterRun:
        """A run that has ended well."""
        run = self.created(**config)
        assert self.warm.run(self.instance, run) == 0
        assert self.status(run) == dg.DagsterRunStatus.SUCCESS, self.told(run)
        return run

    def status(self, run: dg.DagsterRun) -> dg.DagsterRunStatus:
        """What is recorded of a run."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    def told(self, run: dg.DagsterRun) -> str:
        """The run's log, a line each; a failed step's with why."""
        lines = []
        for entry in self.instance.all_logs(run.run_id):
            event = entry.dagster_event
            failed = event.step_failure_data if event and event.is_step_failure else None
            why = failed.user_failure_data.description if failed and failed.user_failure_data else None
            error = failed.error.to_string() if failed and failed.error and not why else None
            lines.append(why or error or (event.message if event else None) or entry.user_message)
        return "\n".join(lines)

    def left(self) -> list[str]:
        """What runs have left in the tenant's folder for them."""
        return [path.name for path in (self.folders.state_dir / "tenants" / TENANT / "runs").glob("*")]

    def temporary(self) -> list[str]:
        """The temporary files of the tenant's processes."""
        return sorted(path.name for path in _temporary_folder(self.folders).glob("*"))


def _temporary_folder(folders: TenantFolders) -> Path:
    return folders.state_dir.with_name("tmp")


StartShop = Callable[[Mapping[str, str]], Shop]


@pytest.fixture(scope="module")
def start_shop(module_folder: Path) -> Iterator[StartShop]:
    with ExitStack() as stack:

        def start(files: Mapping[str, str]) -> Shop:
            folders = TenantFolders(module_folder)
            folders.write(TENANT, files)
            definitions = folders.load(TENANT)
            (module_folder / "instance").mkdir()
            silent = {"telemetry": {"enabled": False}}
            recorded = dg.DagsterInstance.local_temp(str(module_folder / "instance"), overrides=silent)
            instance = stack.enter_context(recorded)
            _temporary_folder(folders).mkdir()
            environ = folders.of_tenant(TENANT, TMPDIR=str(_temporary_folder(folders)))
            warm = stack.enter_context(WarmTenant(environ, module_folder / "warm.log"))
            return Shop(folders, definitions, instance, warm)

        yield start
