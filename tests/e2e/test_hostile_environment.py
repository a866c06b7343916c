"""Two tenants and a hostile reader: whatever one's models and Python look at, they find nothing of the other's.

The fork under test is a copy of this one with a `.env` of its own; secrets of both tenants stand in it and in the
environment. No private key may land anywhere, not the reader's own either: it leaves hashes of what it sees there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.stack import REPOSITORY, Stack, StartStack, bare_environment
from tests.support.tenants import Gate, write_tenant
from tests.support.webserver import wait_until

OTHERS = "canary-of-the-other-tenant"
OWN = "canary-of-the-nosy-tenant"
SHARED = "canary-of-everybody"
ON_SNOWFLAKE = "warehouse: snowflake\n"
CONNECTION = {f"SNOWFLAKE_{name}": "unused" for name in ("ACCOUNT", "USER", "ROLE", "WAREHOUSE", "DATABASE")}

# What a model asks for by `env_var`, and what it may be told.
TOLD_TO_MODELS = {
    "PLAIN": OWN,
    "NOSY__PLAIN": "none",
    "FROM_DOTENV": OWN,
    "OTHER__PLAIN": "none",
    "OTHER__FROM_DOTENV": "none",
    "OTHER__SNOWFLAKE_PRIVATE_KEY_B64": "none",
    "SNOWFLAKE_PRIVATE_KEY_B64": "none",
    "NOSY__SNOWFLAKE_PRIVATE_KEY_B64": "none",
    "SHARED_PLAIN": SHARED,
    "SHARED_API_TOKEN": "none",
}
SEEN = """
import hashlib, json, os

def seen():
    return {
        name: hashlib.sha256(value.encode()).hexdigest() if "PRIVATE_KEY" in name else value
        for name, value in os.environ.items()
    }
"""
DEFINITIONS = f"""{SEEN}
import dagster as dg

at_import = seen()

@dg.asset(key_prefix="nosy")
def everything():
    print(json.dumps(seen()))
    return dg.MaterializeResult(metadata={{"at_import": at_import, "in_the_run": seen()}})

defs = dg.Definitions(assets=[everything])
"""
PYTHON_MODEL = f"""{SEEN}
def model(dbt, session):
    dbt.config(materialized="table")
    session.execute("create or replace table seen as select ? as variables", [json.dumps(seen())])
    return session.sql("select * from seen")
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Key:
    """A private key that nothing may keep."""

    pem: str

    @classmethod
    def new(cls) -> Key:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return cls(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    @property
    def b64(self) -> str:
        return base64.b64encode(self.pem.encode()).decode()

    @property
    def traces(self) -> list[bytes]:
        """Every part by which it would be recognized: lines of the PEM, which are parts of its DER in base64; and
        parts of the base64 of the PEM."""
        parts = self.pem.splitlines()[1:-1] + [self.b64[start : start + 60] for start in range(40, len(self.b64), 60)]
        return [part.encode() for part in parts if len(part) > 20]


@dataclass(frozen=True)
class Fork:
    """The stack after everything was built, and what the test put into it."""

    stack: Stack
    folder: Path
    keys: Mapping[str, Key]
    command_lines: list[str]


@pytest.fixture(scope="module")
def fork(module_folder: Path, start_shared_stack: StartStack) -> Fork:
    root = module_folder / "fork"
    shutil.copytree(
        REPOSITORY / "dagster_apollo", root / "dagster_apollo", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("dagster.yaml", "pyproject.toml", "requirements.txt"):
        shutil.copy(REPOSITORY / name, root)
    gate = Gate(module_folder / "gate")
    asked = ",\n".join(f"""'{{{{ env_var("{name}", "none") }}}}' as {name.lower()}""" for name in TOLD_TO_MODELS)
    models = {"asks.sql": f"select {asked}", "looks.py": PYTHON_MODEL, "waits.py": gate.model("looks")}
    write_tenant(root / "tenants", "nosy", {**models, "definitions.py": DEFINITIONS}, ON_SNOWFLAKE)
    write_tenant(root / "tenants", "other", {"first.sql": "select 1 as id"}, ON_SNOWFLAKE)
    keys = {name: Key.new() for name in ("nosy", "other")}
    (root / ".env").write_text(
        f"NOSY__FROM_DOTENV={OWN}\nOTHER__FROM_DOTENV={OTHERS}\nOTHER__SNOWFLAKE_PRIVATE_KEY_B64={keys['other'].b64}\n"
    )
    environ = {
        **bare_environment(module_folder),
        **CONNECTION,
        "DBT_TARGET": "local",
        "PYTHONPATH": str(root),  # before the fork that the environment is installed for
        "NOSY__PLAIN": OWN,
        "NOSY__SNOWFLAKE_PRIVATE_KEY_B64": keys["nosy"].b64,
        "OTHER__PLAIN": OTHERS,
        "SHARED_PLAIN": SHARED,
        "SHARED_API_TOKEN": f"{SHARED}-token",
    }
    stack = start_shared_stack(environ, command=[sys.executable, "-m", "dagster_apollo.cli.main", "dev"], folder=root)
    wait_until(lambda: gate.reached, "the run of nosy waits in its model")
    command_lines = [" ".join(process.cmdline()) for process in stack.processes()]
    gate.open()
    stack.wait_until_ready()
    stack.webserver.finish(stack.webserver.materialize("nosy", ["nosy/everything"]))
    return Fork(stack, module_folder, keys, command_lines)


def test_a_model_is_told_its_own_plain_values_and_no_secret(fork: Fork) -> None:
    compiled = _metadata(fork, "nosy/asks")["compiled_sql"]["mdStr"]
    told = {column.upper(): value for value, column in re.findall(r"'(.*)' as (\w+)", compiled)}
    assert told == TOLD_TO_MODELS


def test_a_python_model_and_the_tenants_own_python_see_nothing_of_the_other_tenant(fork: Fork) -> None:
    metadata = _metadata(fork, "nosy/everything")
    environments = {label: json.loads(metadata[label]["jsonString"]) for label in ("at_import", "in_the_run")}
    database = fork.folder / "state" / "warehouse" / "local" / "nosy.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        [(variables,)] = connection.sql("select variables from looks").fetchall()
    environments["in_dbt"] = json.loads(variables)
    hashed = {name: hashlib.sha256(key.b64.encode()).hexdigest() for name, key in fork.keys.items()}
    for where, seen in environments.items():
        assert seen["PLAIN"] == OWN, where
        assert seen["FROM_DOTENV"] == OWN, where
        assert [name for name in seen if "OTHER" in name] == [], where
        assert [name for name, value in seen.items() if OTHERS in value or value == hashed["other"]] == [], where
    # Its own key is its own: the tenant's Python has it, so that what is not seen above is not seen for lack of sight.
    assert environments["in_the_run"]["SNOWFLAKE_PRIVATE_KEY_B64"] == hashed["nosy"]


def test_no_key_is_in_an_argument_list(fork: Fork) -> None:
    assert any("code_host.zygote" in line for line in fork.command_lines)  # what dbt is forked from
    traces = [trace.decode() for key in fork.keys.values() for trace in key.traces]
    assert [line for line in fork.command_lines if any(trace in line for trace in traces)] == []


def test_neither_a_key_nor_a_value_of_the_other_tenant_is_on_disk(fork: Fork) -> None:
    assert fork.stack.stop() == 0
    files = [path for name in ("state", "home", "tmp", "user") for path in (fork.folder / name).rglob("*")]
    contents = {path: path.read_bytes() for path in [*files, fork.stack.output] if path.is_file()}
    assert any(OWN.encode() in content for content in contents.values()), "what is looked for could be found"
    assert any(path.suffix == ".db" for path in contents)
    for name, key in fork.keys.items():
        found = [str(path) for path, content in contents.items() if any(trace in content for trace in key.traces)]
        assert found == [], name
    assert [str(path) for path, content in contents.items() if OTHERS.encode() in content] == []


def _metadata(fork: Fork, key: str) -> dict[str, dict[str, Any]]:
    [materialization] = fork.stack.webserver.assets("nosy")[key]["assetMaterializations"]
    return {entry["label"]: entry for entry in materialization["metadataEntries"]}
