"""What all tenants' processes are forked from: it has used what they will use, and can be forked."""

from __future__ import annotations

import json
import subprocess
import sys

from dagster_apollo.dbt.workspace import repository_root

PROGRAM = """\
import json, sys, psutil
from dagster_apollo.warm.dbt_internals import template_cache
from dagster_apollo.warm.preloading import preload

preload(["duckdb", "postgres", "no_such_adapter"])
here = psutil.Process()
macros = " ".join(template_cache.file_cache)
print(json.dumps({
    "threads": here.num_threads(),
    "children": [child.name() for child in here.children()],
    "connections": [str(connection) for connection in here.net_connections()],
    "loaded": sorted({"dagster_apollo.definitions", "dbt.adapters.postgres", "dbt.task.build"} & sys.modules.keys()),
    "compiled": [name for name in ("duckdb__create_table_as", "postgres__create_table_as", "snowflake__create_table_as")
                 if name in macros],
}))
"""


def test_a_preloaded_process_has_the_macros_compiled_and_one_thread_no_child_and_no_connection() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=repository_root(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)

    assert found["threads"] == 1
    assert found["children"] == []
    assert found["connections"] == []
    assert found["loaded"] == ["dagster_apollo.definitions", "dbt.adapters.postgres", "dbt.task.build"]
    assert found["compiled"] == ["duckdb__create_table_as", "postgres__create_table_as"]


def test_what_the_zygote_imports_is_there_without_what_is_only_for_a_terminal() -> None:
    program = (
        "import importlib, sys\n"
        "from dagster_apollo.code_host import zygote\n"
        "zygote.import_all()\n"
        "assert [name for name in zygote.PRELOADED if name not in sys.modules] == []\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {*zygote.COLOURS}, loaded\n"
        "for name in zygote.COLOURS:\n"  # a tenant's own Python imports what it likes
        "    importlib.import_module(name)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
