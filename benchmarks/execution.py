"""What it costs to run a tenant's steps as child processes or in containers: seconds, memory, image, a changed model.

    .venv/bin/python benchmarks/execution.py            # on the container engine that `docker` uses, or the tests' own

It takes a copy of the tenant makerates, whose three steps run either way by one line of `tenant.yaml`, with a real S3
server and the tests' key-value store, both at the address by which containers and this machine reach them alike. The
ways take turns, so that a busy machine slows both. Memory is the most that was seen of a step: of a child process with
all that it started, its proportional share; of a container, what the engine counts without caches of files. Writes
benchmarks/execution.json and benchmarks/execution.md. The tenant's image stays.
"""

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import docker
import psutil

from benchmarks.circumstances import circumstances, load, say
from dagster_apollo.dbt.workspace import Places, open_workspace
from dagster_apollo.execution.docker_runner import TENANT_LABEL
from dagster_apollo.projections.measurements import execution_table
from tests.support.container_engine import ContainerEngine, running_container_engine
from tests.support.rates_pipeline import (
    REPOSITORY,
    TENANT,
    RatesPipeline,
    gateway_of_network,
    make_images,
    materialize,
    rates_pipeline,
)
from tests.support.tenant_folders import failures

RUNS = 5
STEPS = {
    "makerates__bronze__rates": "fetch, a Python program",
    "makerates__dbt_build": "dbt build: 4 models, 17 tests",
    "sync": "sync, a Python program",
}
BASE_IMAGE = "python:3.11-slim-bookworm"
WAYS = ("process", "docker")
SAMPLE_SECONDS = 0.1
MODEL = "models/gold/month_rates.sql"


def main() -> None:
    with running_container_engine() as engine, tempfile.TemporaryDirectory(prefix="apollo-benchmark-") as folder:
        make_images(engine, REPOSITORY / "tenants")  # also makes the network, whose gateway the servers listen at
        with rates_pipeline(Path(folder) / "pipeline", gateway_of_network(engine)) as pipeline:
            found = measure(engine, pipeline)
    (REPOSITORY / "benchmarks/execution.json").write_text(json.dumps(found, indent=2) + "\n")
    (REPOSITORY / "benchmarks/execution.md").write_text(page(found))
    sys.stdout.write(page(found))


def measure(engine: ContainerEngine, pipeline: RatesPipeline) -> dict[str, Any]:
    """Everything, in the order in which one thing leaves what the next needs."""
    found: dict[str, Any] = {
        **circumstances(REPOSITORY),
        "runs": RUNS,
    }
    pipeline.folders.variables.update(engine.environ)
    say("running")
    definitions = {way: pipeline.load(APOLLO_EXECUTION=way) for way in WAYS}
    for way in WAYS:  # the first run of each fills tables, buckets and the machine's caches
        run(definitions[way])
    samples: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(RUNS):
        for way in WAYS:
            with peak_memory(MEMORY[way](engine)) as peak:
                samples[way].append(run(definitions[way]))
            samples[way][-1]["peak_mib"] = round(peak[0])
    found["ways"] = {way: summary(samples[way]) for way in WAYS}
    found["samples"] = samples

    say("starting what does nothing")
    for way in WAYS:
        found["ways"][way]["start_seconds"] = round(statistics.median(start(pipeline, way) for _ in range(RUNS)), 2)

    say("changing a model")
    changes: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(RUNS):
        for way in WAYS:
            changes[way].append(changed_model(engine, pipeline, way))
    for way in WAYS:
        images, manifests = zip(*changes[way], strict=True)
        found["ways"][way]["changed_image_seconds"] = round(statistics.median(images), 1)
        found["ways"][way]["changed_manifest_seconds"] = round(statistics.median(manifests), 1)
    found["changes"] = changes
    say("building without a layer")
    image = image_of(pipeline)
    began = time.monotonic()
    engine.docker("build", "--quiet", "--no-cache", str(pipeline.folder), timeout_seconds=3600)
    found["build_cold_seconds"] = round(time.monotonic() - began, 1)
    found["image_bytes"] = int(engine.docker("image", "inspect", "--format", "{{.Size}}", image))
    found["base_bytes"] = int(engine.docker("image", "inspect", "--format", "{{.Size}}", BASE_IMAGE))
    make_images(engine, REPOSITORY / "tenants")  # that of the folder, not of the changed copy
    found["load_after"] = load()
    return found


def run(definitions: dg.Definitions) -> dict[str, Any]:
    """The seconds of a whole run, and of its steps."""
    began = time.monotonic()
    result = materialize(definitions)
    whole = time.monotonic() - began
    if not result.success:
        sys.exit(failures(result))
    steps = {
        STEPS[str(event.step_key)]: round(event.step_success_data.duration_ms / 1000, 2)
        for event in result.all_events
        if event.is_step_success
    }
    return {"seconds": round(whole, 2), "steps": steps}


def summary(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians."""
    return {
        "seconds": round(statistics.median(sample["seconds"] for sample in samples), 1),
        "steps": {
            step: round(statistics.median(sample["steps"][step] for sample in samples), 1) for step in STEPS.values()
        },
        "peak_mib": round(statistics.median(sample["peak_mib"] for sample in samples)),
    }


def start(pipeline: RatesPipeline, way: str) -> float:
    """Seconds of a Python that ends at once."""
    environ = pipeline.folders.environ(MAKERATES__APOLLO_EXECUTION=way)
    workspace = open_workspace(environ, Places.find(environ, REPOSITORY), TENANT)
    began = time.monotonic()
    command = workspace.command(["python", "-c", "pass"])
    for line in command.lines():
        sys.exit(f"it says {line}")
    return time.monotonic() - began


def changed_model(engine: ContainerEngine, pipeline: RatesPipeline, way: str) -> tuple[float, float]:
    """Seconds that a changed model takes until it can be run: of the image, where there is one, and of the manifest."""
    with (pipeline.folder / MODEL).open("a") as file:
        file.write(f"-- {time.time_ns()}\n")
    began = time.monotonic()
    if way == "docker":
        make_images(engine, pipeline.folders.tenants_dir)
    built = time.monotonic()
    pipeline.load(APOLLO_EXECUTION=way)
    return (built - began if way == "docker" else 0.0), time.monotonic() - built


def image_of(pipeline: RatesPipeline) -> str:
    """The image that the tenant names."""
    environ = pipeline.folders.environ()
    container = open_workspace(environ, Places.find(environ, REPOSITORY), TENANT).tenant.config.container
    assert container is not None
    return container.image


@contextmanager
def peak_memory(now_mib: Callable[[], float]) -> Iterator[list[float]]:
    """The most that a measure was while something went on."""
    peak = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], now_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def of_children(_: ContainerEngine) -> Callable[[], float]:
    """The proportional share of what this process has started from now on."""
    before = set(psutil.Process().children(recursive=True))

    def now() -> float:
        total = 0
        for process in set(psutil.Process().children(recursive=True)) - before:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:  # it has just ended
                continue
        return total / 2**20

    return now


def of_containers(engine: ContainerEngine) -> Callable[[], float]:
    """What the tenant's containers use."""
    client = docker.from_env(environment=dict(engine.environ))

    def now() -> float:
        total = 0
        for container in client.containers.list(filters={"label": f"{TENANT_LABEL}={TENANT}"}, ignore_removed=True):
            try:
                memory = client.api.stats(container.id, stream=False, one_shot=True)["memory_stats"]
            except docker.errors.APIError:  # it has just ended
                continue
            total += memory.get("usage", 0) - memory.get("stats", {}).get("inactive_file", 0)
        return total / 2**20

    return now


MEMORY = {"process": of_children, "docker": of_containers}


def page(found: dict[str, Any]) -> str:
    """The results for a person."""
    return "\n".join(
        [
            "# Child processes or containers",
            "",
            "Written by `.venv/bin/python benchmarks/execution.py`; all samples in execution.json. "
            f"{found['machine']}, load average {found['load_before']} before and {found['load_after']} after, "
            f"commit {found['commit']}.",
            "",
            f"The tenant `{TENANT}`, by its line `execution`. Medians of {found['runs']}; in a run every model is "
            "built anew and nothing new is fetched; the ways took turns.",
            "",
            execution_table(found),
            "",
        ]
    )


if __name__ == "__main__":
    main()
