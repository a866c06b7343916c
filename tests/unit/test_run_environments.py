"""A run's container is given its tenant's variables, by a proof that it was launched, and nobody anything else."""

from __future__ import annotations

import json

import pytest

from dagster_apollo.code_host.calls import authorization
from dagster_apollo.code_host.directory import Directory
from dagster_apollo.code_host.directory_server import DirectoryServer
from dagster_apollo.elsewhere.environments import GOOD_FOR_SECONDS, RunEnvironments, fetch, path_of, prove
from dagster_apollo.elsewhere.place_command import run_words
from dagster_apollo.errors import HostError, RunPlaceError
from tests.support.ports import free_port

TOKEN, RUN = "the-secret-of-the-roles", "0b7e0a56-6f0f-4cbb-a9f5-9a5ec0ffee00"
ENVIRON = {
    "APOLLO_CODE_TOKEN": TOKEN,
    "DAGSTER_PG_URI": "postgresql://dagster:word@db:5432/dagster",
    "DBT_TARGET": "prod",
    "SNOWFLAKE_ACCOUNT": "shared-one",
    "ACME__SNOWFLAKE_USER": "of-acme",
    "WINTER__SNOWFLAKE_USER": "of-winter",
    "RENDER_API_KEY": "rnd_of_the_platform",
    "PATH": "/of/the/code/host",
    "HOME": "/root",
    "PORT": "4000",
    "APOLLO_STATE_DIR": "/var/lib/apollo",
    "DOCKER_HOST": "unix:///var/run/docker.sock",
}
NOW = 1_800_000_000.0


def environments(now: float = NOW, **more: str) -> RunEnvironments:
    return RunEnvironments({**ENVIRON, **more}, {"acme", "winter"}.__contains__, lambda: now)


def told(location: str, proof: str, now: float = NOW, **more: str) -> dict[str, str] | None:
    answer = environments(now, **more).answer(path_of(location, RUN), f"Bearer {proof}")
    return json.loads(answer) if answer else None


def test_a_run_is_given_what_a_process_of_its_tenant_has() -> None:
    given = told("acme", prove(TOKEN, "acme", RUN, NOW))

    assert given == {
        "DAGSTER_PG_URI": ENVIRON["DAGSTER_PG_URI"],
        "DBT_TARGET": "prod",
        "SNOWFLAKE_ACCOUNT": "shared-one",
        "SNOWFLAKE_USER": "of-acme",
        "ACME__SNOWFLAKE_USER": "of-acme",
    }


def test_a_location_of_several_has_its_tenants() -> None:
    given = told("winter__marts", prove(TOKEN, "winter__marts", RUN, NOW))

    assert given is not None
    assert given["SNOWFLAKE_USER"] == "of-winter"


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "x",
        prove("another secret", "acme", RUN, NOW),
        prove(TOKEN, "winter", RUN, NOW),
        prove(TOKEN, "acme", RUN.replace("0", "1"), NOW),
        prove(TOKEN, "acme", RUN, NOW - GOOD_FOR_SECONDS - 1),
        prove(TOKEN, "acme", RUN, NOW).replace("18", "19", 1),
    ],
)
def test_what_is_no_proof_of_this_run_now_is_told_nothing(proof: str) -> None:
    assert told("acme", proof) is None


def test_what_is_presented_to_the_front_signs_no_proof() -> None:
    presented = authorization(TOKEN)

    for heard in (presented, presented.removeprefix("Bearer ")):
        assert told("acme", prove(heard, "acme", RUN, NOW)) is None


def test_without_a_secret_there_is_no_proof() -> None:
    assert told("acme", prove("", "acme", RUN, NOW), APOLLO_CODE_TOKEN="") is None


def test_nothing_is_said_of_a_tenant_that_is_not_served() -> None:
    assert told("gone", prove(TOKEN, "gone", RUN, NOW)) is None


@pytest.mark.parametrize("path", ["/environments/acme", f"/environments/acme/../winter/{RUN}", f"/environments//{RUN}"])
def test_another_path_is_told_nothing(path: str) -> None:
    assert environments().answer(path, f"Bearer {prove(TOKEN, 'acme', RUN, NOW)}") is None


def test_it_is_fetched_from_the_code_hosts_directory_and_a_refusal_says_what_to_do() -> None:
    port = free_port()
    with DirectoryServer("127.0.0.1", port, Directory(()), environments().answer):
        assert fetch("127.0.0.1", port, "acme", RUN, prove(TOKEN, "acme", RUN, NOW))["SNOWFLAKE_USER"] == "of-acme"
        with pytest.raises(HostError, match="answers with 404") as refused:
            fetch("127.0.0.1", port, "acme", RUN, "0.no-proof")
    assert "no-proof" not in str(refused.value)
    assert refused.value.__context__ is None
    with pytest.raises(HostError, match="does not answer"):
        fetch("127.0.0.1", port, "acme", RUN, "0.no-proof")


def test_what_holds_the_variables_does_not_show_them() -> None:
    assert "word" not in repr(environments())


def test_the_words_of_a_run_are_a_location_and_an_id_and_nothing_else() -> None:
    assert run_words("acme__marts", RUN) == ["run", "acme__marts", RUN]
    with pytest.raises(RunPlaceError) as refused:
        run_words("acme; rm -rf /", "--help")
    assert len(refused.value.problems) == 2
