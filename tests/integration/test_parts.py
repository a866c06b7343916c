"""The real parts that other tests lean on are real: each is used once for what it is there for."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.act import run_workflows
from tests.support.container_engine import WITH_ENGINE, ContainerEngine
from tests.support.oidc import running_dex
from tests.support.ports import free_port
from tests.support.registry import Registry
from tests.support.tools import required
from tests.support.webserver import wait_until

DOCKERFILE = """\
FROM python:3.11-slim
RUN python -c "print('built here')" > /said
CMD ["cat", "/said"]
"""
WORKFLOW = """\
name: parts
on: [push]
jobs:
  list:
    runs-on: ubuntu-latest
    outputs:
      tenants: ${{ steps.names.outputs.tenants }}
    steps:
      - uses: actions/checkout@0000000000000000000000000000000000000000
      - uses: somebody/prepares@v1
        with: {word: given}
      - id: names
        env:
          TOKEN: ${{ secrets.TOKEN }}
          OTHER: ${{ secrets.OTHER }}
          REGION: ${{ vars.REGION }}
        run: |
          test "$PREPARED" = given
          test "$TOKEN" = '{"a $HOME": "'
          test "$OTHER" = "it's \\$HOME"
          test "$REGION" = eu
          test -e committed
          echo 'tenants=["acme", "globex"]' >> "$GITHUB_OUTPUT"
          echo "two tenants" >> "$GITHUB_STEP_SUMMARY"
  parse:
    needs: list
    runs-on: ubuntu-latest
    strategy:
      fail-fast: false
      matrix:
        tenant: ${{ fromJSON(needs.list.outputs.tenants) }}
    steps:
      - run: test ${{ matrix.tenant }} = acme
  deploy:
    needs: parse
    runs-on: ubuntu-latest
    steps:
      - run: echo never
  required:
    needs: [list, parse]
    if: always()
    runs-on: ubuntu-latest
    steps:
      - run: test ${{ needs.list.result }} = success
"""
ACTION = """\
name: prepares
inputs: {word: {required: true}}
runs:
  using: composite
  steps:
    - shell: bash
      run: echo "PREPARED=${{ inputs.word }}" >> "$GITHUB_ENV"
"""


def test_an_image_is_built_pushed_and_pulled_by_its_digest(
    folder: Path, container_engine: ContainerEngine, registry: Registry
) -> None:
    (folder / "Dockerfile").write_text(DOCKERFILE)
    tag = f"{registry.address}/apollo/parts:first"
    assert registry.digest("apollo/parts", "first") is None
    container_engine.docker("build", "--quiet", "--tag", tag, str(folder))
    try:
        container_engine.docker("push", "--quiet", tag)
        image = container_engine.docker("image", "inspect", "--format", "{{.Id}}", tag)
        by_digest = f"{registry.address}/apollo/parts@{registry.digest('apollo/parts', 'first')}"
        container_engine.docker("image", "rm", "--force", image)
        assert container_engine.docker("run", "--rm", "--network", "none", by_digest) == "built here"
        assert container_engine.docker("image", "inspect", "--format", "{{.Id}}", by_digest) == image
    finally:
        container_engine.run(["image", "rm", "--force", image])


def test_the_postgres_image_takes_its_password_and_database_from_the_environment(
    container_engine: ContainerEngine,
) -> None:
    # What the topology lets the database's container do, and nothing more.
    allowed = [f"--cap-add={name}" for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")]
    given = [f"--env=POSTGRES_{name}" for name in ("USER=dagster", "DB=records", "PASSWORD=s3cr@t")]
    container = container_engine.docker("run", "--detach", "--cap-drop=ALL", *allowed, *given, "postgres:17")
    try:

        def query(password: str) -> subprocess.CompletedProcess[str]:
            # By its address in the network: what comes from 127.0.0.1 is trusted, as in the official image.
            psql = "psql -h $(hostname -i) -U dagster -d records -tAc 'show server_version'"
            return container_engine.run(
                ["exec", f"--env=PGPASSWORD={password}", container, "sh", "-c", psql], timeout_seconds=60
            )

        wait_until(lambda: query("s3cr@t").stdout.startswith("17."), "Postgres 17 answers", timeout_seconds=60)
        assert "password authentication failed" in query("wrong").stderr
    finally:
        container_engine.docker("rm", "--force", "--volumes", container)


def test_the_caddy_image_ends_tls_by_an_authority_of_its_own(folder: Path, container_engine: ContainerEngine) -> None:
    port = free_port()
    caddyfile = folder / "Caddyfile"
    caddyfile.write_text('localhost {\n    tls internal\n    respond "up"\n}\n')
    container = container_engine.docker("create", "--publish", f"127.0.0.1:{port}:443", "caddy:2")
    try:
        container_engine.docker("cp", str(caddyfile), f"{container}:/etc/caddy/Caddyfile")
        container_engine.docker("start", container)
        root = folder / "root.crt"
        issued = f"{container}:/data/caddy/pki/authorities/local/root.crt"
        wait_until(lambda: container_engine.run(["cp", issued, str(root)]).returncode == 0, "Caddy has its authority")
        trusted = ssl.create_default_context(cafile=str(root))

        def answer() -> str:
            try:
                return httpx.get(f"https://localhost:{port}/", verify=trusted, trust_env=False).text
            except httpx.TransportError:
                return ""

        wait_until(lambda: answer() == "up", "Caddy answers", timeout_seconds=60)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"https://localhost:{port}/", verify=ssl.create_default_context(), trust_env=False)
    finally:
        container_engine.docker("rm", "--force", "--volumes", container)


def test_the_openid_provider_says_who_it_is(folder: Path) -> None:
    with running_dex(folder, ["http://127.0.0.1:1/callback"]) as dex:
        said = httpx.get(f"{dex.issuer}/.well-known/openid-configuration", trust_env=False).json()
        keys = httpx.get(said["jwks_uri"], trust_env=False).json()["keys"]
    assert said["issuer"] == dex.issuer
    assert "S256" in said["code_challenge_methods_supported"]
    assert keys


def test_a_workflow_runs_with_its_matrix_needs_secrets_and_actions(folder: Path) -> None:
    repository = folder / "repository"
    (repository / ".github" / "workflows").mkdir(parents=True)
    (repository / ".github" / "workflows" / "parts.yml").write_text(WORKFLOW)
    (repository / "committed").touch()
    (folder / "action").mkdir()
    (folder / "action" / "action.yml").write_text(ACTION)
    git = ["git", "-C", str(repository), "-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *command], check=True)

    run = run_workflows(
        repository,
        "push",
        actions={"somebody/prepares@v1": folder / "action"},
        secrets={"TOKEN": '{"a $HOME": "', "OTHER": "it's $HOME"},
        variables={"REGION": "eu"},
    )

    assert run.results == {"list": True, "parse": False, "required": True}, run.said
    assert run.job("list").summary == "two tenants\n"
    assert run.job("parse", tenant="acme").succeeded
    assert not run.job("parse", tenant="globex").succeeded
    assert not run.succeeded


def test_a_wrong_workflow_is_found_by_the_linter(folder: Path) -> None:
    workflow = folder / "wrong.yml"
    workflow.write_text(WORKFLOW.replace("needs: list", "needs: lists"))
    found = subprocess.run([required("actionlint"), str(workflow)], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "lists" in found.stdout


@pytest.fixture
def stand_in(folder: Path) -> Path:
    """`with_engine.sh` beside an engine that is a file: what is looked at is who starts and stops it, and when."""
    scripts, engine = folder / "scripts", folder / "dagster_apollo" / "engine"
    for made in (scripts, engine):
        made.mkdir(parents=True)
    for name in ("with_engine.sh", "cache.sh"):
        shutil.copy(WITH_ENGINE.parent / name, scripts / name)
    running = engine / "running"
    _program(
        scripts / "container_engine.sh", f"case $1 in start) touch {running} ;; stop) rm {running} ;; *) exit 1 ;; esac"
    )
    _program(engine / "docker", f"test -e {running}")
    (engine / "env.sh").write_text(f'export PATH="{engine}:$PATH"\n')
    return running


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def _user_of(stand_in: Path) -> subprocess.Popen[str]:
    folder = stand_in.parents[2]
    user = subprocess.Popen(
        [str(folder / "scripts" / "with_engine.sh"), "sh", "-c", "echo here; exec cat"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CACHE_HOME": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    assert user.stdout.readline() == "here\n"
    return user


def test_an_engine_that_was_started_for_tests_is_stopped_by_its_last_user(stand_in: Path) -> None:
    first, second = _user_of(stand_in), _user_of(stand_in)
    first.communicate(timeout=60)
    assert stand_in.exists()
    second.communicate(timeout=60)
    assert not stand_in.exists()


def test_an_engine_that_ran_before_is_left_running(stand_in: Path) -> None:
    stand_in.touch()
    _user_of(stand_in).communicate(timeout=60)
    assert stand_in.exists()


def test_an_engine_whose_user_was_killed_is_stopped_by_the_next(stand_in: Path) -> None:
    killed = _user_of(stand_in)
    killed.kill()
    killed.communicate(timeout=60)
    assert stand_in.exists()
    _user_of(stand_in).communicate(timeout=60)
    assert not stand_in.exists()
