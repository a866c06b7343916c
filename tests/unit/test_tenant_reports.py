"""What is told of a tenant: whatever it is, the host goes on, and takes only a report from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.code_host.preparing import Report
from dagster_apollo.errors import Problem


def test_a_report_is_read_as_it_was_told() -> None:
    problem = Problem("tenants/alpha", "is wrong", "Mend it.")
    report = Report("duckdb:here", (("db", "schema", "table"),), (problem,), "abc")

    assert Report.from_fields(report.as_fields()) == report


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"place": "x"},
        {"place": "x", "tables": 3, "problems": [], "content": ""},
        {"place": "x", "tables": [], "problems": [{"nothing": "known"}], "content": ""},
        {"place": "x", "tables": [], "problems": ["text"], "content": ""},
        {"place": "x", "tables": [], "problems": None, "content": ""},
        {"place": "x", "tables": [], "problems": [], "content": "../beta"},
        {"place": "x", "tables": [], "problems": [], "content": "\ud800"},
    ],
)
def test_nonsense_is_no_report(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a report"):
        Report.from_fields(fields)


def test_what_no_log_can_hold_is_told_by_another_character() -> None:
    problem = {"where": "tenants/alpha", "what": "is \ud800", "remedy": "Mend it."}
    report = Report.from_fields({"place": "\ud800", "tables": [["\ud800"]], "problems": [problem], "content": ""})

    assert (report.place, report.tables, report.problems[0].what) == ("?", (("?",),), "is ?")


def test_no_process_of_a_tenant_leaves_its_memory_in_a_file(tmp_path: Path) -> None:
    # In a process of its own, since this one's limit would stay.
    code = """
import os, resource
from dagster_apollo.code_host.walls import forbid_core_dumps
forbid_core_dumps()
if os.fork() == 0:
    print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)
    os._exit(0)
os.wait()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert told.stdout.split("\n")[0] == "(0, 0)"
