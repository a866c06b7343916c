"""`apollo ci`: the steps of the workflows, so that a person can take each of them by hand.

What a command prints on its standard output is what a workflow reads; everything for people goes to standard error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from dagster_apollo.cli.console import TenantsArgument, environ_here, err, errors_of, here, names_of, print_problem
from dagster_apollo.deploy.changes import Unknown, changed_paths, deployed_commit
from dagster_apollo.fork import FILE, load_fork
from dagster_apollo.projections.ci_matrix import batches, touched
from dagster_apollo.tenant import tenant_names

app = typer.Typer(no_args_is_help=True, help="The steps of the workflows, by hand.")
Answer = TypeVar("Answer")
BaseOption = Annotated[str, typer.Option("--base", metavar="REF", help="The commit to compare with; none: everything.")]


@app.command()
def matrix(base: BaseOption = "") -> None:
    """Print the tenants that a branch touches, as the JSON list of the gate's jobs."""
    _, places = here()
    change = touched(_known(changed_paths(places.root, base, since_branching=True)), tenant_names(places.tenants_dir))
    _print(json.dumps(batches(change.tenants), separators=(",", ":")))


@app.command()
def gate(names: TenantsArgument = None) -> None:
    """`dbt deps && dbt parse` of tenants for `local` and `prod`, with no credentials whatever this shell has."""
    from dagster_apollo.dbt.gate import pass_gate

    environ, places = here()
    found = pass_gate(environ, places, names_of(places, environ, names))
    for name, problems in found.items():
        err.print(f"{name}: {'is stopped' if errors_of(problems) else 'may pass'}", markup=False)
        for problem in problems:
            print_problem(problem, err)
    raise typer.Exit(1 if any(errors_of(problems) for problems in found.values()) else 0)


@app.command()
def deployed() -> None:
    """Print the commit that is live in production, as GitHub recorded it; nothing, when it is not known."""
    _print(_known(deployed_commit(environ_here())) or "")


@app.command()
def changed(base: BaseOption = "") -> None:
    """Print what a deploy replaces: `all` services, the code host for `tenants` alone, or `none`."""
    _, places = here()
    if load_fork(places.root).is_placeholder:
        err.print(f"{FILE} does not say yet where the image is pushed to: nothing is deployed", markup=False)
        _print("none")
        return
    _print(touched(_known(changed_paths(places.root, base)), tenant_names(places.tenants_dir)).deploys)


@app.command()
def push(
    image_id: Annotated[str, typer.Option("--id", help="The image's id, as `make image` wrote it.")],
    tag: Annotated[list[str], typer.Option(help="Under which it is found beside its digest; may be repeated.")],
    first_tag: Annotated[str | None, typer.Option(help="One more, where nothing is under it yet.")] = None,
    archive: Annotated[Path | None, typer.Option(help="What `make image-archive` wrote.")] = None,
) -> None:
    """Push the image that was built and print it by its digest, as `apollo deploy --image` takes it."""
    from dagster_apollo.deploy.push import push as push_image

    environ, places = here()
    repository = load_fork(places.root).image
    _print(str(push_image(repository, image_id, tag, archive, first_tag=first_tag, environ=environ)))


def _known(answer: Answer | Unknown) -> Answer | None:
    if isinstance(answer, Unknown):
        err.print(f"{answer.reason}: everything is taken", markup=False)
        return None
    return answer


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
