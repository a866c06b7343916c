"""Waits for the database and prints the instance's id: `python -m dagster_apollo.code_host.waiting RUNS`.

For the code host, whose first process talks to no database; it also tells those who launch runs how many the code host
holds at once. What it waits for goes to standard error, the id alone to standard output; exit code 1, with the reason
there, when the time is over.
"""

from __future__ import annotations

import os
import sys

from dagster_apollo.errors import HostError, Problem, ProblemsError
from dagster_apollo.host.role import wait_for_database
from dagster_apollo.runs import dagster_tables
from dagster_apollo.settings import Values, read


def main(runs: int) -> int:
    values = read(dict(os.environ))
    try:
        sys.stdout.write(_instance_id(values, runs))
    except ProblemsError as error:
        sys.stdout.write(f"{error.heading}: {error.problems[0].what}")
        return 1
    return 0


def _instance_id(values: Values, runs: int) -> str:
    wait_for_database(values, _tell, runs)
    url = values.text("DAGSTER_PG_URI")
    if not url:
        return ""
    with dagster_tables.connect(url) as connection:
        dagster_tables.keep(connection, dagster_tables.CAPACITY_KEY, str(runs))
        found = dagster_tables.instance_id(connection)
    if found is None:
        remedy = "Run `apollo migrate`: a deploy does it before it starts anything."
        raise HostError([Problem("DAGSTER_PG_URI", "the instance has no id yet", remedy)], "the schema is not whole")
    return found


def _tell(line: str) -> None:
    sys.stderr.write(f"apollo {line}\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
