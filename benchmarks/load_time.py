"""How long a tenant of many models takes to load, and how much memory: beside stock dagster-dbt on the same manifest.

    .venv/bin/python benchmarks/load_time.py            # 100 and 1,000 models, median of 5
    .venv/bin/python benchmarks/load_time.py --models 5000 --samples 3

Each sample is a process of its own, ours and the peer's in turns, so that a noisy moment hits both. The peer is what
Dagster's documentation shows: `@dbt_assets(manifest=…)` with a schedule by `build_schedule_from_dbt_selection`, on the
manifest that `dbt parse` wrote. Writes benchmarks/load_time.json and benchmarks/load_time.md.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("ours", "stock")


def generate(folder: Path, models: int) -> None:
    """A tenant of so many models in layers of ten, each with a description, three columns and two tests."""
    for part in ("models", "macros"):
        (folder / part).mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(
        "name: generated\nversion: 1.0.0\nprofile: apollo-snowflake\nmodels: {generated: {+schema: marts}}\n"
    )
    shutil.copy(ROOT / "tenants/_template/macros/generate_schema_name.sql", folder / "macros")
    entries, not_null = [], "        data_tests: [not_null]\n"
    for number in range(models):
        parents = [f"m{number - step:05d}" for step in (1, 10) if number % 10 and number >= step]
        source = " union all ".join(f"select id, name, amount from {{{{ ref('{parent}') }}}}" for parent in parents)
        (folder / "models" / f"m{number:05d}.sql").write_text(source or "select 1 as id, 'x' as name, 2.5 as amount")
        columns = "".join(
            f"      - name: {name}\n        description: The {name}.\n{tests}"
            for name, tests in (("id", not_null), ("name", not_null), ("amount", ""))
        )
        entries.append(f"  - name: m{number:05d}\n    description: Generated model {number}.\n    columns:\n{columns}")
    (folder / "models" / "models.yml").write_text("models:\n" + "".join(entries))


def measure_ours(manifest_dir: Path) -> int:
    """Load the definitions as a code location does; the number of assets."""
    import dagster as dg

    from dagster_apollo.dbt.preparation import load_prepared
    from dagster_apollo.dbt.workspace import Places, open_workspace
    from dagster_apollo.definitions import tenant_definitions

    workspace = open_workspace(os.environ, Places.find(os.environ, ROOT), "generated")
    definitions: dg.Definitions = tenant_definitions(workspace, load_prepared(workspace), os.environ)
    definitions.get_repository_def().load_all_definitions()
    return len(definitions.resolve_asset_graph().materializable_asset_keys)


def measure_stock(manifest_dir: Path) -> int:
    """The same by Dagster's documentation."""
    import dagster as dg
    from dagster_dbt import DbtCliResource, build_schedule_from_dbt_selection, dbt_assets

    @dbt_assets(manifest=manifest_dir / "manifest.json")
    def assets(context: dg.AssetExecutionContext, dbt: DbtCliResource):
        yield from dbt.cli(["build"], context=context).stream()

    schedule = build_schedule_from_dbt_selection([assets], "build", "0 6 * * *", dbt_select="fqn:*")
    project_dir = Path(os.environ["APOLLO_TENANTS_DIR"]) / "generated"
    resources = {"dbt": DbtCliResource(project_dir=str(project_dir))}
    definitions = dg.Definitions(assets=[assets], schedules=[schedule], resources=resources)
    definitions.get_repository_def().load_all_definitions()
    return len(definitions.resolve_asset_graph().materializable_asset_keys)


def one_sample(side: str, manifest_dir: Path) -> dict[str, float]:
    """One load, measured inside the process: seconds after the imports, and megabytes that it added."""
    import dagster  # noqa: F401
    import dagster_dbt  # noqa: F401

    import dagster_apollo.definitions  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    assets = {"ours": measure_ours, "stock": measure_stock}[side](manifest_dir)
    seconds = time.perf_counter() - started
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": seconds, "megabytes": added, "assets": assets}


def measure(models: int, samples: int) -> dict[str, object]:
    """Generate, prepare, then sample both sides in turns."""
    with tempfile.TemporaryDirectory(prefix="apollo-bench-") as scratch:
        folder = Path(scratch)
        generate(folder / "tenants" / "generated", models)
        kept = ("HOME", "LANG")
        environ = {name: os.environ[name] for name in kept if name in os.environ} | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "APOLLO_TENANTS_DIR": str(folder / "tenants"),
            "APOLLO_STATE_DIR": str(folder / "state"),
        }
        started = time.perf_counter()
        subprocess.run([str(ROOT / ".venv/bin/apollo"), "prepare"], env=environ, check=True, capture_output=True)
        prepare_seconds = time.perf_counter() - started
        manifest_dir = folder / "state/tenants/generated/prepared/local"
        sizes = {name: (manifest_dir / name).stat().st_size / 1e6 for name in ("manifest.json", "definitions.json")}
        taken: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(samples):
            for side in SIDES:
                command = [sys.executable, __file__, "--sample", side, str(manifest_dir)]
                answer = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True)
                taken[side].append(json.loads(answer.stdout.splitlines()[-1]))
        assert {sample["assets"] for side in SIDES for sample in taken[side]} == {models}
    medians = {
        side: {unit: statistics.median(sample[unit] for sample in taken[side]) for unit in ("seconds", "megabytes")}
        for side in SIDES
    }
    return {
        "models": models,
        "prepare_seconds": prepare_seconds,
        "manifest_megabytes": sizes["manifest.json"],
        "slim_megabytes": sizes["definitions.json"],
        "medians": medians,
        "ratio_seconds": medians["ours"]["seconds"] / medians["stock"]["seconds"],
        "ratio_megabytes": medians["ours"]["megabytes"] / medians["stock"]["megabytes"],
        "samples": taken,
    }


def table(results: list[dict]) -> str:
    """The figures as a person reads them."""
    head = ("models", "`apollo prepare`, cold", "manifest, slim", "load: ours / stock", "ratio", "memory: ours / stock")
    lines = [f"| {' | '.join((*head, 'ratio'))} |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for entry in results:
        ours, stock = entry["medians"]["ours"], entry["medians"]["stock"]
        lines.append(
            f"| {entry['models']:,} | {entry['prepare_seconds']:.1f} s "
            f"| {entry['manifest_megabytes']:.1f} MB, {entry['slim_megabytes']:.1f} MB "
            f"| {ours['seconds']:.2f} s / {stock['seconds']:.2f} s | {entry['ratio_seconds']:.2f} "
            f"| {ours['megabytes']:.0f} MB / {stock['megabytes']:.0f} MB | {entry['ratio_megabytes']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--sample", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.sample:
        sys.stdout.write("\n" + json.dumps(one_sample(chosen.sample[0], Path(chosen.sample[1]))) + "\n")
        return
    results = [measure(models, chosen.samples) for models in chosen.models]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    about = {
        "command": " ".join(["benchmarks/load_time.py", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit.strip(),
    }
    content = json.dumps({**about, "measures": results}, indent=1)
    (ROOT / "benchmarks/load_time.json").write_text(content + "\n")
    page = (
        "# Loading a tenant of many models\n\nWritten by `.venv/bin/python benchmarks/load_time.py`, median of "
        f"{chosen.samples}; every sample is in load_time.json. {about['machine']}, {about['date']}, commit "
        f"{about['commit']}.\nLoad and memory: from imported modules to a loaded repository, in a process of its own; "
        f"stock is dagster-dbt as its documentation shows.\n\n{table(results)}\n"
    )
    (ROOT / "benchmarks/load_time.md").write_text(page)
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
