"""What was found, written: `results.json`, its tables, and the part of the documentation that shows them.

Everything a person reads is derived from `results.json` alone, so that a test can derive it again. A measure that was
taken by itself replaces its former entry; each entry says when and of which commit it is.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.chart import draw
from benchmarks.side_by_side.measures import MEASURES

RESULTS, TABLE, CHART = "results.json", "results.md", "results.svg"
PAGE = Path("docs/benchmarks.md")
BEGIN, END = "<!-- generated: results -->", "<!-- end of generated -->"
NOTHING_YET = "Nothing is measured yet: `make bench`."


def read(folder: Path) -> dict[str, Any]:
    """The results so far; none where there is no file."""
    file = folder / RESULTS
    document: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"measures": [], "details": []}
    return document


def merged(
    before: Mapping[str, Any], measures: Sequence[Mapping[str, Any]], details: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Results with new entries in place of former ones of the same name, in the order in which they are declared."""
    by_name = {entry["name"]: entry for entry in (*before["measures"], *measures)}
    order = [measure.name for measure in MEASURES]
    by_kind: dict[tuple[str, int, str], dict[str, Any]] = {}
    for entry in (*before.get("details", ()), *details):
        kept = by_kind.setdefault(_kind(entry), {})
        for name, value in entry.items():  # of runs by side: those of a side that was not measured again stay
            kept[name] = {**kept.get(name, {}), **value} if isinstance(value, Mapping) else value
    return {
        **about,
        "measures": [by_name[name] for name in order if name in by_name],
        "details": [by_kind[kind] for kind in sorted(by_kind)],
    }


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """Write the results and what derives from them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(results, indent=1) + "\n")
    for name, text in derived(results).items():
        (folder / name).write_text(text)


def derived(results: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the files beside `results.json`, by name."""
    page = ["# Bare dbt, Dagster's documented way, and ours", "", _about(results), "", table(results), ""]
    page += [*_waterfalls(results), *_at_rest(results)]
    return {TABLE: "\n".join(page), CHART: draw(results)}


def shown(page: str, results: Mapping[str, Any]) -> str:
    """The documentation's page with what the results say between its marks."""
    head, _, rest = page.partition(BEGIN)
    tail = rest.partition(END)[2]
    content = NOTHING_YET
    if results["measures"]:
        picture = f"![How ours compares, one bar a measure](../benchmarks/{CHART})"
        content = f"{_about(results)}\n\n{picture}\n\n{table(results)}"
    return f"{head}{BEGIN}\n{content}\n{END}{tail}"


def table(results: Mapping[str, Any]) -> str:
    """One row a measure."""
    lines = ["| measure | ours | peer | | ratio | goal |", "| --- | --- | --- | --- | --- | --- |"]
    for entry in results["measures"]:
        peer = entry["peer"]
        cells = (
            f"{entry['title']}<br>`{entry['name']}`",
            amount(entry["ours"], entry["unit"]),
            amount(entry["peers"][peer], entry["unit"]),
            entry["beside"],
            "" if entry["ratio"] is None else f"{entry['ratio']:.3f}",
            _goal(entry),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def amount(value: float, unit: str) -> str:
    """A value with its unit, as a person reads it."""
    match unit:
        case "bytes":
            return f"{value / 1000:,.0f} kB"
        case "MB" | "connections":
            return f"{value:,.0f} {unit}"
        case "% of a core":
            return f"{value:.2f} {unit}"
        case _:
            return f"{value:,.2f} {unit}"


def _goal(entry: Mapping[str, Any]) -> str:
    if "goal" not in entry:
        return ""
    goal = entry["goal"]
    bound = f"{goal['at_most']:.3g}" if goal["of"] == "ratio" else amount(goal["at_most"], entry["unit"])
    return f"≤ {bound}: {'met' if goal['met'] else '**not met**'}"


def _about(results: Mapping[str, Any]) -> str:
    machines = sorted({entry["machine"] for entry in results["measures"]})
    commits = sorted({f"{entry['commit']} ({entry['date']})" for entry in results["measures"]})
    return (
        f"Written by `make bench`, the last time by `{results['command']}`: medians; every sample is in `{RESULTS}`. "
        f"{'; and '.join(machines)}; walls between tenants: {results['walls']}; load average "
        f"{results['load_before']} before and {results['load_after']} after. Commit {', '.join(commits)}."
    )


def _waterfalls(results: Mapping[str, Any]) -> list[str]:
    lines = []
    for entry in results["details"]:
        size, firsts = entry.get("project"), entry.get("first_run_seconds", {})
        if entry.get("waterfalls"):
            lines += [f"## Where the time goes, {size} {'nodes' if size == 9 else 'models'}", ""]
            told = ", ".join(f"{side} {seconds:.2f} s" for side, seconds in firsts.items())
            lines += [f"Seconds after the launch was asked for; medians. The first run after a start took: {told}.", ""]
            lines += [*_stages(entry["waterfalls"]), ""]
        if entry.get("one_model_waterfalls"):
            lines += [f"## Where the time goes, one model of {size}, with its test", ""]
            lines += ["Seconds after the launch was asked for; medians.", ""]
            lines += [*_stages(entry["one_model_waterfalls"]), ""]
    return lines


def _stages(of_sides: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """A table: when each side came to each stage."""
    medians = {side: waterfall(samples) for side, samples in of_sides.items()}
    stages = sorted({stage: at for found in medians.values() for stage, at in found.items()}.items(), key=_second)
    lines = [f"| | {' | '.join(medians)} |", f"| --- |{' --- |' * len(medians)}"]
    for stage, _ in stages:
        cells = [f"{found[stage]:.2f}" if stage in found else "" for found in medians.values()]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return lines


def waterfall(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each stage that every sample has, the earliest first."""
    common = set.intersection(*(set(sample) for sample in samples)) if samples else set()
    stages = [stage for stage in samples[0] if stage in common] if samples else []
    found = {stage: statistics.median(sample[stage] for sample in samples) for stage in stages}
    return dict(sorted(found.items(), key=_second))


def _at_rest(results: Mapping[str, Any]) -> list[str]:
    rows = [entry for entry in results["details"] if "tenants" in entry]
    if not rows:
        return []
    lines = ["## What is there at rest", ""]
    lines += [
        "| side | tenants | assets | processes of the code side, PSS | webserver | daemon | % of a core by role |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for entry in rows:
        code = entry["code"]
        total = sum(process["pss_mb"] for process in code)
        shares = ", ".join(f"{role} {share}" for role, share in entry.get("rest_cpu", {}).items()) or "not counted"
        cells = (entry["side"], entry["tenants"], f"{entry['assets']:,}", f"{len(code)}: {total:,.0f} MB")
        others = (f"{sum(process['pss_mb'] for process in entry[role]):,.0f} MB" for role in ("webserver", "daemon"))
        lines.append(f"| {' | '.join(map(str, (*cells, *others, shares)))} |")
    lines += ["", "The processes of the code side, by the name that each gives itself:", ""]
    lines += [f"* {entry['side']}, {entry['tenants']}: {_by_name(entry['code'])}" for entry in rows]
    return [*lines, ""]


def _by_name(processes: Sequence[Mapping[str, Any]]) -> str:
    """How many of each name, and what they have together."""
    found: dict[str, list[float]] = {}
    for process in processes:
        found.setdefault(process["name"], []).append(process["pss_mb"])
    return ", ".join(f"{len(sizes)} `{name}` {sum(sizes):,.0f} MB" for name, sizes in found.items())


def _kind(entry: Mapping[str, Any]) -> tuple[str, int, str]:
    return ("fleet", entry["tenants"], entry["side"]) if "tenants" in entry else ("runs", entry["project"], "")


def _second(pair: tuple[str, float]) -> float:
    return pair[1]
