"""Tables of the documentation whose figures a benchmark wrote: made of its file, so that no figure is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MEGABYTE = 10**6


def execution_table(found: Mapping[str, Any]) -> str:
    """What a tenant's steps cost as child processes and in containers.

    Args:
        found: the content of `benchmarks/execution.json`.
    """
    native, contained = found["ways"]["process"], found["ways"]["docker"]

    def row(what: str, key: str, unit: str = "s") -> str:
        return f"| {what} | {native[key]} {unit} | {contained[key]} {unit} |"

    steps = [
        f"| &nbsp; {step} | {seconds} s | {contained['steps'][step]} s |" for step, seconds in native["steps"].items()
    ]
    image, base = (f"{found[key] / _MEGABYTE:.0f} MB" for key in ("image_bytes", "base_bytes"))
    return "\n".join(
        [
            "| | `execution: process` | `execution: docker` |",
            "| --- | --- | --- |",
            row("a run of all three steps", "seconds"),
            *steps,
            row("starting a Python that does nothing", "start_seconds"),
            row("memory of a step, at the most", "peak_mib", "MiB"),
            row("a model changed: its manifest", "changed_manifest_seconds"),
            f"| a model changed: its image | none | {contained['changed_image_seconds']} s |",
            f"| image | none | {image}, of which {base} are Python's own |",
            f"| image, no layer there, wheels downloaded before | none | {found['build_cold_seconds']} s |",
        ]
    )
