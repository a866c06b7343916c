"""Waits for the database and prints the instance's id: `python -m dagster_apollo.code_host.waiting RUNS`.

For the code host, whose first process does not import Dagster, and for which it tells those who launch runs how many it
holds at once. What it waits for goes to standard error, the id alone
to standard output; exit code 1, with the reason there, when the time is over.
"""

from __future__ import annotations

import os
import sys

from dagster_apollo.errors import ProblemsError
from dagster_apollo.host.dagster_internals import PostgresRunStorage
from dagster_apollo.host.role import wait_for_database
from dagster_apollo.runs import capacity
from dagster_apollo.settings import read


def main(runs: int) -> int:
    values = read(dict(os.environ))
    try:
        wait_for_database(values, _tell)
    except ProblemsError as error:
        sys.stdout.write(f"{error.heading}: {error.problems[0].what}")
        return 1
    url = values.text("DAGSTER_PG_URI")
    if url:
        storage = PostgresRunStorage(url, should_autocreate_tables=False)
        storage.set_cursor_values({capacity.KEY: str(runs)})
        sys.stdout.write(storage.get_run_storage_id())
    return 0


def _tell(line: str) -> None:
    sys.stderr.write(f"apollo {line}\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
