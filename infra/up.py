"""`make up`: build the image if none is given, give the stack what it needs, bring it up, say how to log in.

What a person wrote into `.env`, `.env.tenants` and access.yaml reaches the host through the stack's encrypted
configuration. What is missing and can be made, a database password and a session secret, is made once and kept there.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.fork import load_fork
from dagster_apollo.topology import FULL_STAGE, HOST_STAGE, WEBSERVER_PORT, Topology, topology
from infra.configuration import ConfigurationError, parse
from infra.docker_command import Docker
from infra.docker_host import container_name, volume_name
from infra.engine import PROGRAM, Engine, EngineError
from infra.variables import ACCESS, MADE, OIDC, PASSWORD, environment, problems, used
from infra.written import read_written


def up(
    image: Annotated[str | None, typer.Option(help="Webserver's and daemon's, by digest; unset: built here.")] = None,
    code_image: Annotated[str | None, typer.Option(help="The code host's; unset: the same.")] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="The port on the host's loopback, without a domain; unset: PORT of .env, as before, or 3000."
        ),
    ] = None,
    docker_host: Annotated[str | None, typer.Option(help="ssh://user@host or unix:///path; unset: as before.")] = None,
    stack: Annotated[str, typer.Option(help="The stack's name: one a Docker host.")] = "local",
) -> None:
    """Bring the fork up on a Docker host."""
    bring_up(os.environ, PROGRAM.parent, stack, image, code_image, port, docker_host)


def bring_up(
    environ: Mapping[str, str],
    root: Path,
    stack: str = "local",
    image: str | None = None,
    code_image: str | None = None,
    port: int | None = None,
    docker_host: str | None = None,
) -> None:
    """Bring a fork up on a Docker host and say where it is.

    Args:
        environ: this process' variables; of them only those count that `.env` names, and Docker's and Pulumi's own.
        root: the fork's folder, with `apollo.toml`, `.env` and `infra/`.
        stack: the stack's name.
        image, code_image: images by digest; without them they are built.
        port: where the webserver is published on the host's loopback; None: PORT of `.env`, else as before, else 3000.
        docker_host: the engine's address; None: as before, at first the one that `docker` uses here.

    Raises:
        ProblemsError: with everything that is wrong, before the host is changed; or with what did not come up.
    """
    services = topology(load_fork(root))
    engine = Engine.find(environ, stack, root / "infra")
    if engine.new_passphrase:
        typer.echo(
            f"The stack's secrets are encrypted with a passphrase made just now: {engine.new_passphrase} (0600).\n"
            "Keep a copy of it: without it nobody can change or remove this stack."
        )
    docker_host = docker_host or engine.entry("dockerHost")
    docker = Docker.find(environ, docker_host)
    written = read_written(environ, root)
    variables = _variables(services, engine, docker, used(services, written.own, written.of_tenants))
    if image is None:
        image = docker.build(root, HOST_STAGE, f"{services.fork.image}:local-host")
        target = {"DBT_TARGET": _target(services, variables)}  # the manifests are made for it
        code_image = docker.build(root, FULL_STAGE, f"{services.fork.image}:local", target)
    port_text = str(port or written.own.get("PORT") or engine.entry("port") or WEBSERVER_PORT)
    entries = {"image": image, "port": port_text}
    entries |= {"codeImage": code_image} if code_image else {}
    entries |= {"dockerHost": docker_host} if docker_host else {}
    parse({**entries, "variables": json.dumps(variables)}, {"variables"})  # told before anything is set
    for key, text in entries.items():
        engine.set(key, text)
    if not code_image:
        engine.unset("codeImage")  # of another time, which is not what `image` is
    engine.set_secret("variables", json.dumps(variables, sort_keys=True))
    if engine.run("up", "--yes", "--skip-preview") != 0:
        names = [container_name(services.fork, service) for service in services.containers]
        for name, log in docker.unwell(names).items():
            typer.echo(f"\n--- {name}\n{log}", err=True)
        remedy = "What Pulumi said, and the logs of what is not well, stand above. `make up` goes on from where it is."
        raise EngineError([Problem(f"stack {stack}", "did not come up", remedy)])
    typer.echo(_how_to_log_in(engine.output("address"), variables))


def _variables(services: Topology, engine: Engine, docker: Docker, given: Mapping[str, str]) -> dict[str, str]:
    kept: dict[str, str] = json.loads(engine.entry("variables") or "{}")
    if PASSWORD in kept and given.get(PASSWORD, kept[PASSWORD]) != kept[PASSWORD]:
        remedy = "Put the old one back, or change it in the database first (docs/docker-host.md says how)."
        what = "is not the one that the database was made with, and the database would not learn of it"
        raise ConfigurationError([Problem(PASSWORD, what, remedy)])
    if PASSWORD not in kept and not given.get(PASSWORD) and docker.volumes([_data_of(services)]):
        what = "is there already, and its password is not known to this stack"
        remedy = f"Set {PASSWORD} in `.env` to it; or, to begin anew, `docker volume rm {_data_of(services)}`."
        raise ConfigurationError([Problem(f"volume {_data_of(services)}", what, remedy)])
    made = {name: kept.get(name) or secrets.token_urlsafe(32) for name in MADE if not given.get(name, "").strip()}
    variables = {**given, **made}
    if found := problems(services, variables):
        raise ConfigurationError(found)
    return variables


def _target(services: Topology, variables: Mapping[str, str]) -> str:
    """The dbt target that the code host will run with."""
    return environment(services.code, services, variables, "")["DBT_TARGET"]


def _data_of(services: Topology) -> str:
    return volume_name(services.fork, next(iter(services.database.volumes or {})))


def _how_to_log_in(address: str, variables: Mapping[str, str]) -> str:
    ways = []
    if variables.get(ACCESS, "").strip():
        ways.append("a user of access.yaml (`apollo users add NAME` adds one; then `make up`)")
    if variables.get(OIDC[0], "").strip():
        ways.append(f"an account of {variables[OIDC[0]]} that apollo.toml lets in")
    return f"\nup: {address}\nlog in with {', or '.join(ways)}"


def told(command: typer.Typer) -> None:
    """Run a command line; what is wrong is told without a traceback, with exit code 1."""
    try:
        command()
    except ProblemsError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


app = typer.Typer(add_completion=False)
app.command()(up)

if __name__ == "__main__":
    told(app)
