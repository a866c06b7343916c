"""What is used of fakesnow's private parts: this fails loudly when a release of it moves them.

It runs in the package's own environment, because fakesnow can't be installed beside dagster-dbt.
"""

from __future__ import annotations

import subprocess

from local_snowflake.testing import PACKAGE_FOLDER, interpreter

RECORD = """
from local_snowflake import fakesnow_adapter as adapter
from pathlib import Path
import duckdb

recorder = adapter._Recorder()
state = adapter.ConnectionState("D", "S", Path("."))
adapter._cursor(state, duckdb.connect())._transform(recorder, None)
steps = [step for step, _, _ in recorder.steps]
assert len(steps) > 50, len(steps)
missing = [step.__name__ for step in adapter.REPLACED if step not in steps]
# create_table_as is called through a lambda, which takes the session's connection
assert missing in ([], ["create_table_as"]), missing
print(len(steps))
"""


def test_fakesnows_transforms_are_recorded_and_the_replaced_ones_are_among_them() -> None:
    done = subprocess.run(
        [str(interpreter()), "-c", RECORD],
        env={"PYTHONPATH": str(PACKAGE_FOLDER)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
