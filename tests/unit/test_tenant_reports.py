"""What a tenant's process tells the code host: whatever it is, the host goes on, and takes only a report from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import Places
from dagster_apollo.host.code_host import LARGEST_REPORT_BYTES, CodeHost, Tenant
from dagster_apollo.host.tenant_process import Report
from dagster_apollo.host.walls import Cell, start

ROOT = Path("/nowhere")


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    """One with a process that only waits."""
    cell = Cell("alpha", None, {"alpha": 4001}, tmp_path)
    process = start(cell, [sys.executable, "-c", "import time; time.sleep(600)"], dict(os.environ), ())
    yield Tenant(cell, process)
    process.kill()
    process.wait()


def hear(tenant: Tenant, content: bytes) -> list[str]:
    """Let the host hear all of it; what it says of it."""
    said: list[str] = []
    host = CodeHost({}, Places(ROOT, ROOT, ROOT), "127.0.0.1", [tenant], 0.0, None, said.append)
    report_from, report_to = os.pipe()
    tenant.report_from = report_from
    left = memoryview(content)
    while tenant.report_from is not None and left:
        left = left[os.write(report_to, left[: 1 << 16]) :]
        host._hear(tenant)
    os.close(report_to)
    return said


def ended_by(tenant: Tenant) -> int | None:
    """With what the process ends soon; None: it goes on."""
    assert tenant.process is not None
    try:
        return tenant.process.wait(1)
    except subprocess.TimeoutExpired:
        return None


def test_a_report_is_taken_and_its_process_goes_on(tenant: Tenant) -> None:
    report = Report("duckdb:here", (("db", "schema", "table"),))

    assert hear(tenant, report.to_json()) == []
    assert tenant.report == report
    assert ended_by(tenant) is None


@pytest.mark.parametrize(
    "content",
    [b"[" * 200_000 + b"\n", b"nonsense\n", b"[]\n", b'{"place": "x"}\n', b"x" * (LARGEST_REPORT_BYTES + (1 << 17))],
    ids=["deep JSON", "no JSON", "a list", "half a report", "without an end"],
)
def test_nonsense_is_no_report_and_ends_its_process(tenant: Tenant, content: bytes) -> None:
    said = hear(tenant, content)

    assert tenant.report is None
    assert (tenant.heard, tenant.report_from) == (b"", None)
    assert said == ["alpha: what it told of itself cannot be read; its process is ended"]
    assert ended_by(tenant) == -9


def test_no_process_of_a_tenant_leaves_its_memory_in_a_file(tmp_path: Path) -> None:
    # In a process of its own, since this one's limit would stay.
    limit = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    code = f"""
import os, sys
from pathlib import Path
from dagster_apollo.host.walls import Cell, forbid_core_dumps, start
forbid_core_dumps()
start(Cell("alpha", None, {{}}, Path({str(tmp_path)!r})), [sys.executable, "-c", {limit!r}], os.environ, ()).wait()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert told.stdout.split("\n")[0] == "(0, 0)"
