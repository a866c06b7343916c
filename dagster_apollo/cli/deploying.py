"""`apollo deploy`, `apollo secrets` and `apollo smoke`: a release to Render, from a laptop as from a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer
from rich.markup import escape

from dagster_apollo.cli.console import err, errors_of, here, out, print_problem
from dagster_apollo.deploy import secrets as secret_variables
from dagster_apollo.deploy.checks import examine
from dagster_apollo.deploy.image import Image, parse_image, repository_of
from dagster_apollo.deploy.release import Ending, Outcome, Release
from dagster_apollo.deploy.render_api import RenderApi
from dagster_apollo.deploy.render_http import RealClock
from dagster_apollo.deploy.rollout import Limits
from dagster_apollo.deploy.smoke import StatusPage, watch
from dagster_apollo.deploy.targets import connect, find_services, find_targets, roles_of, status_page
from dagster_apollo.errors import DeployError
from dagster_apollo.fork import Fork, load_fork
from dagster_apollo.locations import all_locations
from dagster_apollo.settings import Values, read
from dagster_apollo.tenant import tenant_names

app = typer.Typer()
secrets_app = typer.Typer(no_args_is_help=True, help="What tenants need to know, at Render.")

MinutesOption = Annotated[float, typer.Option("--minutes", help="How long one service's deploy may take.")]
SmokeOption = Annotated[float, typer.Option("--smoke-minutes", help="Within which the smoke test must pass.")]
SettleOption = Annotated[
    float, typer.Option("--settle-seconds", help="From live to the smoke test: the old copies go in the meantime.")
]
PollOption = Annotated[float, typer.Option("--poll-seconds", help="Between two looks, at first.")]


@app.command()
def deploy(
    image: Annotated[str | None, typer.Option(help="What is deployed: REPOSITORY@sha256:…")] = None,
    services: Annotated[str | None, typer.Option(help="These services only, separated by commas.")] = None,
    changed: Annotated[
        Literal["all", "tenants"],
        typer.Option(help="What differs from the last deploy: tenants' folders alone, or more."),
    ] = "all",
    check: Annotated[bool, typer.Option("--check", help="Deploy nothing: say whether everything is right.")] = False,
    minutes: MinutesOption = 30,
    smoke_minutes: SmokeOption = 5,
    settle_seconds: SettleOption = 90,
    poll_seconds: PollOption = 3,
) -> None:
    """Bring Render's services to an image, look whether they are well, and take it back when they are not."""
    environ, places = here()
    fork, values = load_fork(places.root), read(environ)
    if not check and image is None:
        raise typer.BadParameter("say which image is deployed, or --check", param_hint="--image")
    wanted = parse_image(str(image), fork) if not check else None
    with _render(values) as api:
        if wanted is None:
            _check(api, fork, values, image)
            return
        chosen = [part.strip() for part in services.split(",") if part.strip()] if services is not None else None
        targets = find_targets(api, fork, values, roles_of(fork, chosen, changed))
        limits = Limits(minutes * 60, settle_seconds, smoke_minutes * 60, poll_seconds)
        with _page(api, fork, values) as page:
            names = all_locations(places.tenants_dir, tenant_names(places.tenants_dir))
            _finish(Release(api, targets, wanted, page, names, limits=limits, say=_say).run())


@app.command()
def smoke(poll_seconds: PollOption = 3, smoke_minutes: SmokeOption = 0) -> None:
    """Ask the deployment on Render through its login whether it is well."""
    environ, places = here()
    fork, values = load_fork(places.root), read(environ)
    with _render(values) as api, _page(api, fork, values) as page:
        names = all_locations(places.tenants_dir, tenant_names(places.tenants_dir))
        before = page.look()
        problems = watch(
            page,
            before,
            names,
            clock=RealClock(),
            settle_seconds=0,
            limit_seconds=smoke_minutes * 60,
            poll_seconds=poll_seconds,
        )
    for problem in problems:
        print_problem(problem)
    out.print("[green]well[/]" if not problems else "[red]something is wrong[/]")
    raise typer.Exit(1 if problems else 0)


@secrets_app.command("push")
def secrets_push(
    tenant: Annotated[list[str] | None, typer.Option(help="This tenant's; without it all tenants'.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing: show names and fingerprints.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what nobody needs any more.")] = False,
    minutes: MinutesOption = 30,
    smoke_minutes: SmokeOption = 5,
    settle_seconds: SettleOption = 90,
    poll_seconds: PollOption = 3,
) -> None:
    """Put tenants' variables into Render's environment group and deploy the code host, which reads them then."""
    environ, places = here()
    fork, values = load_fork(places.root), read(environ)
    needs = secret_variables.needs_of(
        environ, places.tenants_dir, secret_variables.wanted_names(places.tenants_dir, tenant)
    )
    with _render(values) as api:
        code = find_services(api, fork, ["code"])["code"]
        key = str(values["RENDER_API_KEY"])
        push = secret_variables.plan_push(api, fork, code, needs, key=key, prune=prune)
        _show(push)
        if dry_run:
            return
        if not push.changes_anything and not secret_variables.is_stale(api, push):
            out.print("nothing to do: the code host has it all")
            return
        # Everything that a deploy needs is looked for before anything is changed.
        targets = find_targets(api, fork, values, ["code"])
        live = next(iter(api.deploys(code.id, status="live", limit=1)), None)
        with _page(api, fork, values) as page:
            page.look()
            secret_variables.carry_out(api, push)
            if live is None or live.digest is None:
                out.print(f"{code.name} has no live deploy yet: its first takes them", markup=False)
                return
            again = Image(repository_of(live.image.ref or code.image_path), live.digest)
            limits = Limits(minutes * 60, settle_seconds, smoke_minutes * 60, poll_seconds)
            names = all_locations(places.tenants_dir, tenant_names(places.tenants_dir))
            _finish(Release(api, targets, again, page, names, limits=limits, say=_say, force=True).run())


# ---- Shared by the commands. ----


@contextmanager
def _render(values: Values) -> Iterator[RenderApi]:
    api = connect(values, _say)
    try:
        yield api
    finally:
        api.close()


@contextmanager
def _page(api: RenderApi, fork: Fork, values: Values) -> Iterator[StatusPage]:
    page = status_page(fork, values, find_services(api, fork, ["webserver"])["webserver"])
    try:
        yield page
    finally:
        page.close()


def _say(line: str) -> None:
    out.print(line, markup=False)


def _check(api: RenderApi, fork: Fork, values: Values, image: str | None) -> None:
    found = examine(api, fork, values)
    if image is not None:
        try:
            parse_image(image, fork)
        except DeployError as error:
            found["image"] += error.problems
    for heading, problems in found.items():
        verdict = "[red]something is wrong[/]" if errors_of(problems) else "[green]right[/]"
        out.print(f"[bold]{escape(heading)}[/]: {verdict}")
        for problem in problems:
            print_problem(problem)
    raise typer.Exit(1 if any(errors_of(problems) for problems in found.values()) else 0)


def _show(push: secret_variables.Push) -> None:
    state = "is made" if push.group is None else "is there"
    out.print(f"environment group {push.group_name}: {state}; linked to {push.code.name} alone", markup=False)
    for change in push.changes:
        out.print(f"  {change.fate:8} {change.name} {change.fingerprint}".rstrip(), markup=False)
    for tenant, print_ in push.needs.keys.items():
        out.print(f"  key of {tenant}: {print_}", markup=False)
    for problem in push.needs.notes:
        print_problem(problem)


def _finish(outcome: Outcome) -> None:
    well = outcome.ending is Ending.WELL
    for problem in outcome.problems:
        print_problem(problem, out if well else err)
    for line in outcome.live:
        out.print(f"  live: {line}", markup=False)
    colour = "green" if well else "red"
    (out if well else err).print(f"[{colour}]{escape(outcome.headline)}[/]")
    raise typer.Exit(int(outcome.ending))
