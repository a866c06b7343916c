"""`CustomDbtProjectComponent` from a `defs.yaml` of a project that has nothing of this repository but the package."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.container_engine import ContainerEngine
from tests.support.containers import Containers
from tests.support.tenant_folders import TenantFolders
from tests.support.tenant_images import copy_tenant, image_of

PROFILES = """\
shop:
  target: local
  outputs:
    local:
      type: duckdb
      path: "{{ env_var('SHOP_FOLDER') }}/shop.duckdb"
      threads: 1
      external_root: "{{ env_var('DBT_ENV_SECRET_SHOP') }}"
"""
SCHEMA = """\
models:
  - name: orders
    columns: [{name: id, data_tests: [unique, not_null]}]
"""
DEFS = """\
type: dagster_apollo.dbt.component.CustomDbtProjectComponent
attributes:
  project: "{{{{ project_root }}}}/transformations"
  prepare_if_dev: false
  container:
    image: {image}
    pull: NEVER
    environment: {{SHOP_FOLDER: "{{{{ env.SHOP_FOLDER }}}}"}}
    variables: [DBT_ENV_SECRET_SHOP]
    shared_folder: "{{{{ env.SHOP_FOLDER }}}}"
    timeout_seconds: 300
"""
FILES = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "outside"\n',
    "outside/__init__.py": "",
    "outside/defs/__init__.py": "",
    "transformations/dbt_project.yml": "name: shop\nprofile: shop\n",
    "transformations/profiles.yml": PROFILES,
    "transformations/models/orders.sql": "select 1 as id union all select 2",
    "transformations/models/totals.sql": "select count(*) as orders from {{ ref('orders') }}",
    "transformations/models/schema.yml": SCHEMA,
}
# What a person's `dagster dev` does with it, told as JSON.
MATERIALIZE = """
import json, sys
from pathlib import Path
import dagster as dg
definitions = dg.load_from_defs_folder(path_within_project=Path.cwd())
job = definitions.resolve_implicit_global_asset_job_def()
selection = [dg.AssetKey(key) for key in sys.argv[1:]] or None
run = job.execute_in_process(asset_selection=selection, raise_on_error=False)
failed = [event.step_failure_data for event in run.all_events if event.is_step_failure]
told = [data.user_failure_data.description if data.user_failure_data else str(data.error) for data in failed]
print(json.dumps({
    "success": run.success,
    "assets": [event.asset_key.to_user_string() for event in run.get_asset_materialization_events()],
    "checks": [(check.check_name, check.passed) for check in run.get_asset_check_evaluations()],
    "failures": told,
}))
"""


@dataclass(frozen=True)
class Outside:
    """A Dagster project outside of the repository, and the image that its dbt runs in."""

    root: Path
    engine: ContainerEngine

    def materialize(self, *keys: str) -> dict[str, object]:
        """Load its definitions in a process of its own and materialize these assets, or all."""
        environ = {
            **self.engine.environ,
            # As an activated environment has it: dagster-dbt looks for a `dbt`, whether or not it runs it.
            "PATH": f"{Path(sys.executable).parent}:{self.engine.environ['PATH']}",
            "SHOP_FOLDER": str(self.root / "warehouse"),
            "DBT_ENV_SECRET_SHOP": "kept-secret",
            "DAGSTER_HOME": "",
        }
        ended = subprocess.run(
            [sys.executable, "-c", MATERIALIZE, *keys],
            cwd=self.root, env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert "kept-secret" not in ended.stdout + ended.stderr
        told: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
        return told

    def left(self) -> list[str]:
        return Containers(self.engine, "shop", self.root).left()


@pytest.fixture(scope="module")
def outside(container_engine: ContainerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    root = tmp_path_factory.mktemp("outside")
    base, image = f"apollo-test-{uuid.uuid4().hex[:8]}:base", f"apollo-test-{uuid.uuid4().hex[:8]}:1"
    for name, text in {**FILES, "outside/defs/transformations/defs.yaml": DEFS.format(image=image)}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "warehouse").mkdir()
    project = root / "transformations"
    parse = [str(Path(sys.executable).parent / "dbt"), "parse", "--project-dir", str(project)]
    variables = {"SHOP_FOLDER": str(root / "warehouse"), "DBT_ENV_SECRET_SHOP": "x", "DBT_PROFILES_DIR": str(project)}
    subprocess.run(parse, env=variables, cwd=project, capture_output=True, check=True)
    (root / "tenants").mkdir()
    tenants = TenantFolders(tmp_path_factory.mktemp("base"), **container_engine.environ)
    copy_tenant(tenants, "riksdag", image=base)
    with image_of(tenants, container_engine, "riksdag", base):  # it has dbt
        (root / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /shop\nCOPY transformations .\nRUN rm profiles.yml\n")
        container_engine.docker("build", "--quiet", "--tag", image, str(root))
        try:
            yield Outside(root, container_engine)
        finally:
            container_engine.run(["image", "rm", "--force", image])


def test_the_project_is_built_in_a_container(outside: Outside) -> None:
    told = outside.materialize()

    assert told["success"], told["failures"]
    assert sorted(told["assets"]) == ["orders", "totals"]  # type: ignore[call-overload]
    assert sorted(map(tuple, told["checks"])) == [("not_null_orders_id", True), ("unique_orders_id", True)]  # type: ignore[call-overload]
    assert outside.left() == []


def test_one_asset_is_built_alone(outside: Outside) -> None:
    told = outside.materialize("totals")

    assert (told["success"], told["assets"], told["checks"]) == (True, ["totals"], [])


def test_what_dbt_complains_of_is_the_failure(outside: Outside) -> None:
    (outside.root / "warehouse" / "shop.duckdb").unlink()
    told = outside.materialize("totals")

    assert not told["success"]
    assert "Table with name orders does not exist" in str(told["failures"])


def test_a_missing_image_is_the_failure(outside: Outside) -> None:
    file = outside.root / "outside/defs/transformations/defs.yaml"
    kept = file.read_text(encoding="utf-8")
    file.write_text(DEFS.format(image="apollo-nowhere:1"), encoding="utf-8")
    try:
        told = outside.materialize()
    finally:
        file.write_text(kept, encoding="utf-8")

    assert not told["success"]
    assert "apollo-nowhere:1: there is no such image on the container engine" in str(told["failures"])
