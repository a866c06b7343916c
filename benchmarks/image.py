"""The image's size and build times, what each role uses at rest with five tenants, and what the database's plan costs.

    .venv/bin/python benchmarks/image.py                # on the container engine that `docker` uses, or the tests' own

It works on a copy of the repository with four more tenants made by `apollo tenant new`, brought up by its own
`compose.yaml` with the limits of the plans in `apollo.toml`. Everything it makes on the engine is removed but the build
cache. A cold build has no layer: wheels that were downloaded before are taken from pip's cache. Writes
benchmarks/image.json and benchmarks/image.md.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.circumstances import circumstances, load, say
from dagster_apollo.fork import load_fork
from dagster_apollo.plans import PLANS
from dagster_apollo.tenant import tenant_names
from tests.support.compose import ComposeHost, compose_host
from tests.support.container_engine import ContainerEngine, running_container_engine
from tests.support.deployed_stack import JOB, TENANT
from tests.support.webserver import FINAL, wait_until

ROOT = Path(__file__).resolve().parents[1]
TENANTS = 5
REST_SECONDS = 60
SMALLEST_DATABASE = "basic-256mb"
RUN_TIMEOUT_SECONDS = 3600.0


def main() -> None:
    with (
        running_container_engine() as engine,
        tempfile.TemporaryDirectory(prefix="apollo-benchmark-") as folder,
        compose_host(engine, Path(folder), "apollo-benchmark") as host,
    ):
        found = measure(engine, host)
    (ROOT / "benchmarks/image.json").write_text(json.dumps(found, indent=2) + "\n")
    (ROOT / "benchmarks/image.md").write_text(page(found))
    sys.stdout.write(page(found))


def measure(engine: ContainerEngine, host: ComposeHost) -> dict[str, Any]:
    """Everything, in the order in which one thing leaves what the next needs."""
    found: dict[str, Any] = {
        **circumstances(ROOT),
        "plans": {name: str(plan) for name, plan in load_fork(host.clone).plans.model_dump().items()},
    }
    add_tenants(host.clone)
    say("building without a layer")
    found["build_cold_seconds"] = build(engine, host.clone, "--no-cache")
    found["build_nothing_changed_seconds"] = build(engine, host.clone)
    model = host.clone / "tenants" / TENANT / "models" / "added_by_the_benchmark.sql"
    model.write_text("select 1 as id\n")
    found["build_tenant_changed_seconds"] = build(engine, host.clone)
    image = engine.docker("build", "--quiet", str(host.clone))
    found["image_bytes"] = int(engine.docker("inspect", "--format", "{{.Size}}", image))
    base = "python:3.11-slim-bookworm"
    found["base_bytes"] = int(engine.docker("inspect", "--format", "{{.Size}}", base))

    say("bringing it up")
    began = time.monotonic()
    host.up("--build")
    found["up_seconds"] = round(time.monotonic() - began, 1)
    names = tenant_names(host.clone / "tenants")
    host.stack.wait_until_it_serves(*names)
    found["tenants"] = len(names)
    time.sleep(REST_SECONDS)
    found["memory_at_rest_mib"] = memory(host)

    say("running, with the database's plan")
    run(host)  # the first one also starts what is started on demand
    found["run_seconds"] = {found["plans"]["database"]: run(host)}
    if found["plans"]["database"] != SMALLEST_DATABASE:
        plan = PLANS[SMALLEST_DATABASE]
        database = host.containers()["dagster-postgres"]["Id"]
        limits = ["--cpus", str(plan.cpus), "--memory", f"{plan.memory_mb}m", "--memory-swap", f"{plan.memory_mb}m"]
        engine.docker("update", *limits, database)
        found["run_seconds"][SMALLEST_DATABASE] = run(host)
    found["memory_after_runs_mib"] = memory(host)
    found["load_after"] = load()
    return found


def add_tenants(clone: Path) -> None:
    """As many as are missing, as a person makes them."""
    missing = TENANTS - len(tenant_names(clone / "tenants"))
    for number in range(missing):
        command = [sys.executable, "-m", "dagster_apollo.cli.main", "tenant", "new", f"small_{number + 1}"]
        subprocess.run(command, cwd=clone, env={**os.environ, "PYTHONPATH": str(clone)}, check=True)


def build(engine: ContainerEngine, clone: Path, *words: str) -> float:
    """Seconds that a build takes, with the pushing or loading of its result into the engine."""
    began = time.monotonic()
    engine.docker("build", "--quiet", *words, str(clone), timeout_seconds=3600)
    return round(time.monotonic() - began, 1)


def run(host: ComposeHost) -> float:
    """Seconds from launch to the end of the whisky tenant's whole build."""
    webserver = host.stack.webserver
    run_id = webserver.launch(TENANT, JOB)
    wait_until(lambda: webserver.run(run_id)["status"] in FINAL, "the run ends", RUN_TIMEOUT_SECONDS)
    ended = webserver.finish(run_id)
    return round(ended["endTime"] - ended["startTime"], 1)


def memory(host: ComposeHost) -> dict[str, int]:
    """MiB of each service as the engine counts them: without what is only a cache of files."""
    found: dict[str, int] = {}
    for name, container in sorted(host.containers().items()):
        shown = host.engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container["Id"])
        found[name] = round(mebibytes(shown.split("/")[0].strip()))
    return found


def mebibytes(shown: str) -> float:
    """What `docker stats` shows, `152.1MiB`, as a number."""
    units = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024}
    return next(float(shown.removesuffix(unit)) * factor for unit, factor in units.items() if shown.endswith(unit))


def page(found: dict[str, Any]) -> str:
    """The results for a person."""
    megabytes = 10**6
    roles = {"dagster-webserver": "webserver", "dagster-daemon": "daemon", "dagster-code": "code"}
    rows = []
    for name, at_rest in found["memory_at_rest_mib"].items():
        plan = found["plans"][roles.get(name, "database")]
        limit = PLANS[plan].memory_mb
        rows.append(f"| `{name}` | {plan} | {limit} | {at_rest} | {found['memory_after_runs_mib'][name]} |")
    runs = [f"| {plan} | {PLANS[plan].cpus:g} | {seconds} s |" for plan, seconds in found["run_seconds"].items()]
    return "\n".join(
        [
            "# The image, and what it uses",
            "",
            f"Written by `.venv/bin/python benchmarks/image.py`; one sample each, all of it in image.json. "
            f"{found['machine']}, load average {found['load_before']} before and {found['load_after']} after, "
            f"commit {found['commit']}.",
            "",
            "| build | seconds |",
            "| --- | --- |",
            f"| no layer there, wheels downloaded before | {found['build_cold_seconds']} |",
            f"| only a tenant changed | {found['build_tenant_changed_seconds']} |",
            f"| nothing changed | {found['build_nothing_changed_seconds']} |",
            "",
            f"The image has {found['image_bytes'] / megabytes:.0f} MB, "
            f"of which {found['base_bytes'] / megabytes:.0f} MB are Python's own. "
            f"`docker compose up --wait --build` took {found['up_seconds']} s.",
            "",
            f"Memory in MiB, {found['tenants']} tenants, {REST_SECONDS} s after all were loaded, and after the runs:",
            "",
            "| service | plan | limit | at rest | after runs |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"A whole build of `{TENANT}`, by the database's plan:",
            "",
            "| database | processors | run |",
            "| --- | --- | --- |",
            *runs,
            "",
        ]
    )


if __name__ == "__main__":
    main()
