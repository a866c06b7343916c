"""The tenant makerates with an S3 server and a key-value store of its own, for its tests and for the benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from dagster_apollo.execution.docker_runner import TENANT_LABEL
from tests.support.container_engine import ContainerEngine
from tests.support.key_value import KeyValueStore, running_key_value_store
from tests.support.object_store import Account, running_object_store
from tests.support.tenant_folders import TenantFolders

REPOSITORY = Path(__file__).parents[2]
TENANT = "makerates"
NETWORK = "makerates-network"
RATES, EVENTS = "makerates_rates", "makerates_events"
BUCKETS = ("bronze", "silver", "gold")
MODELS = {"silver/daily_rates", "silver/calendar_rates", "gold/cross_rates", "gold/month_rates"}
EVERYTHING = {"bronze/rates", *MODELS, "dynamodb/rates", "dynamodb/events"}


@dataclass(frozen=True)
class RatesPipeline:
    """A copy of the tenant's folder with stores of its own."""

    folders: TenantFolders
    account: Account
    key_value: KeyValueStore

    @property
    def folder(self) -> Path:
        return self.folders.tenants_dir / TENANT

    def edit(self, path: str, before: str, after: str) -> None:
        """Put one text that a file holds once in the place of another."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{path} holds {before!r} {text.count(before)} times"
        file.write_text(text.replace(before, after), encoding="utf-8")

    def load(self, **settings: str) -> dg.Definitions:
        """The definitions as the tenant's code location has them."""
        given = {**self.key_value.settings(), **self.account.settings(), **settings}
        return self.folders.load(TENANT, **{f"MAKERATES__{name}": text for name, text in given.items()})

    def run(self, *keys: str, downstream: bool = False, **settings: str) -> dg.ExecuteInProcessResult:
        """Load it, and materialize these assets or all."""
        definitions = self.load(**settings)
        selected = dg.AssetSelection.assets(*([TENANT, *key.split("/")] for key in keys))
        wanted = (selected.downstream() if downstream else selected).resolve(definitions.resolve_asset_graph())
        return materialize(definitions, list(wanted))

    def revise(self, month: str, change: Callable[[dict[str, dict[str, float]]], object]) -> None:
        """Have the provider answer otherwise: `change` is given the rates by day."""
        file = self.folder / f"recorded/{month}.json"
        answer = json.loads(file.read_text(encoding="utf-8"))
        change(answer["rates"])
        file.write_text(json.dumps(answer), encoding="utf-8")

    def items(self, table: str) -> list[dict[str, Any]]:
        """All that a table holds, in an order of its own."""
        return sorted(self.key_value.items(table), key=repr)

    def rows(self, model: str) -> list[tuple[Any, ...]]:
        """What a model holds, as anybody reads it from the object store."""
        layer, _, name = model.partition("/")
        return rows_of(self.account.objects(layer)[f"{TENANT}/{name}.parquet"])

    def containers_left(self) -> list[str]:
        """The containers of this tenant that are there, running or not."""
        engine = ContainerEngine({**os.environ, **self.folders.variables})
        return engine.docker("ps", "--all", "--quiet", "--filter", f"label={TENANT_LABEL}={TENANT}").split()


def materialize(definitions: dg.Definitions, keys: list[dg.AssetKey] | None = None) -> dg.ExecuteInProcessResult:
    """Run the whole pipeline's job, or these assets of it, in this process."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("makerates__pipeline")
        return job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=keys or None)


def rows_of(parquet: bytes) -> list[tuple[Any, ...]]:
    """The rows of a Parquet file, in an order of their own."""
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(parquet)
        file.flush()
        return duckdb.sql(f"select * from read_parquet('{file.name}') order by all").fetchall()


@contextmanager
def rates_pipeline(root: Path, host: str = "127.0.0.1") -> Iterator[RatesPipeline]:
    """The tenant below a folder, with empty buckets, its servers listening at `host`.

    Raises:
        MissingPart: this machine has no S3 server.
    """
    root.mkdir(exist_ok=True)
    folders = TenantFolders(root)
    not_copied = shutil.ignore_patterns("__pycache__", "target", "logs")
    shutil.copytree(REPOSITORY / "tenants" / TENANT, folders.tenants_dir / TENANT, ignore=not_copied)
    with running_object_store(host=host) as store, running_key_value_store(host=host) as key_value:
        made = RatesPipeline(folders, store.account(), key_value)
        for bucket in BUCKETS:
            made.account.make_bucket(bucket)
        yield made


def make_images(engine: ContainerEngine, tenants_dir: Path) -> None:
    """`make images`, of this tenant in a tenants folder."""
    environ = {**os.environ, **engine.environ, "APOLLO_TENANTS_DIR": str(tenants_dir), "PYTHON": sys.executable}
    made = subprocess.run([REPOSITORY / "scripts/make_images.sh", TENANT], env=environ, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def gateway_of_network(engine: ContainerEngine) -> str:
    """The address by which this machine and the containers on the tenant's network reach the same servers."""
    inspected = engine.docker("network", "inspect", "--format", "{{json .IPAM.Config}}", NETWORK)
    return str(json.loads(inspected)[0]["Gateway"])
