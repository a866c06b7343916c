"""`apollo init`: what a fork says of itself, asked for, or given by options where nobody can be asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dagster_apollo.access.identity.access_file import NAME
from dagster_apollo.cli import console
from dagster_apollo.cli.console import environ_here, out
from dagster_apollo.errors import Problem
from dagster_apollo.fork import Fork, Plans
from dagster_apollo.new_fork import (
    Answers,
    NewForkError,
    current,
    guess_image,
    prepare_docker_host,
    problem_of,
    write_fork,
)
from dagster_apollo.projections.compose import TENANTS_FILE
from dagster_apollo.settings import read

app = typer.Typer()

_QUESTIONS = {
    "name": "What its resources begin with",
    "image": "The repository that its images are pushed to",
    "region": "Render's region",
    "domain": "The host name that people type (- for none)",
}
_NONE = "-"


@app.command()
def init(
    name: Annotated[str | None, typer.Option(help="What the fork's resources begin with.")] = None,
    image: Annotated[str | None, typer.Option(help="The image's repository, without a tag.")] = None,
    region: Annotated[str | None, typer.Option(help="Render's region, for every service.")] = None,
    domain: Annotated[str | None, typer.Option(help="The host name that people type; `-`: none.")] = None,
    registry_credential: Annotated[
        str | None, typer.Option(help="Render's name of the registry credential, for a private image; `-`: none.")
    ] = None,
    plan: Annotated[list[str] | None, typer.Option(help="A size, SERVICE=PLAN; may be repeated.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="An e-mail domain whose people may log in by OpenID Connect; repeatable.")
    ] = None,
    administrator: Annotated[
        str | None, typer.Option(help="Who administrates: an e-mail address (OpenID Connect) or a name (password).")
    ] = None,
    docker_host: Annotated[
        bool | None, typer.Option("--docker-host/--no-docker-host", help="Also make `.env` for containers here.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: what is not given stays as it is.")] = False,
) -> None:
    """Say what this fork is: write apollo.toml and all that follows from it, and `.env` for a Docker host."""
    root = console.repository_root()
    fork = current(root)
    given = {
        field: value
        for field, value in {
            "name": name,
            "image": image,
            "region": region,
            "domain": domain,
            "registry_credential": registry_credential,
        }.items()
        if value is not None
    }
    plans = _plans(plan or [])
    asks = not yes and sys.stdin.isatty()
    if not asks and not yes and not (given or plans or allow or administrator or docker_host is not None):
        remedy = "Give options, see `apollo init --help`, or `--yes` for what stands in apollo.toml."
        raise NewForkError([Problem("apollo init", "there is nobody to ask", remedy)])
    if asks:
        given, plans, administrator, docker_host = _ask(root, fork, given, plans, administrator, docker_host, allow)
    elif image is None and fork.is_placeholder and (guess := guess_image(root)):
        given["image"] = guess

    if administrator is not None and (why := _refused_name(administrator)):
        raise NewForkError([Problem(f"--administrator {administrator}", *why)])
    by_mail = administrator is not None and "@" in administrator
    answers = Answers(
        {field: "" if value == _NONE else value for field, value in given.items()},
        plans,
        tuple(allow or ()),
        (administrator,) if by_mail and administrator else (),
    )
    for path in write_fork(root, answers):
        out.print(f"wrote {path.relative_to(root)}", markup=False)
    if docker_host:
        _docker_host(root, None if by_mail else administrator or "admin")
    if current(root).is_placeholder:
        out.print("note: `image` in apollo.toml is still the one that nobody can push to", markup=False)


def _docker_host(root: Path, administrator: str | None) -> None:
    access_path = root / str(read(environ_here())["APOLLO_ACCESS_PATH"])
    written, login = prepare_docker_host(root, access_path, administrator=administrator)
    if written:
        out.print(f"wrote .env: {', '.join(written)}", markup=False)
    if login:
        out.print(f"log in as {login.name} with the password {login.password} (it is shown this once)", markup=False)
    out.print(
        f"tenants' own variables go into {TENANTS_FILE}; then: docker compose up --detach --wait --build", markup=False
    )


def _plans(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    known = ", ".join(Plans.model_fields)
    problems = [
        Problem(f"--plan {''.join(pair)}", "is not SERVICE=PLAN", f"Services: {known}.")
        for pair in pairs
        if pair[0] not in Plans.model_fields or not pair[2]
    ]
    if problems:
        raise NewForkError(problems)
    return {service: size for service, _, size in pairs}


def _ask(
    root: Path,
    fork: Fork,
    given: dict[str, str],
    plans: dict[str, str],
    administrator: str | None,
    docker_host: bool | None,
    allow: list[str] | None,
) -> tuple[dict[str, str], dict[str, str], str | None, bool]:
    """Ask for what no option said."""
    for field, question in _QUESTIONS.items():
        if field not in given:
            default = getattr(fork, field) or _NONE
            if field == "image" and fork.is_placeholder:
                default = guess_image(root) or default
            given[field] = _asked(field, question, default)
    for service in Plans.model_fields:
        if service not in plans:
            plans[service] = _asked(f"plans.{service}", f"Size of the {service}", getattr(fork.plans, service))
    if administrator is None and not fork.login.emails and not allow:
        who = "Who administrates: an e-mail address (OpenID Connect) or a name (password)"
        administrator = str(typer.prompt(who, "admin")).strip()
        while why := _refused_name(administrator):
            out.print(f"  {why[0]}. {why[1]}", markup=False)
            administrator = str(typer.prompt(who, "admin")).strip()
    if docker_host is None:
        docker_host = typer.confirm("Is this machine the Docker host", default=False)
    return given, plans, administrator, docker_host


def _refused_name(name: str) -> tuple[str, str] | None:
    """Why nobody can log in by a name, and what to do; None: somebody can."""
    if NAME.fullmatch(name):
        return None
    return "is not a name", "Write lower-case letters, digits and . _ @ + -, beginning with a letter or digit."


def _asked(field: str, question: str, default: str) -> str:
    while True:
        answer = str(typer.prompt(question, default)).strip()
        problem = None if answer == _NONE else problem_of(field, answer)
        if problem is None:
            return answer
        out.print(f"  {problem}", markup=False)
