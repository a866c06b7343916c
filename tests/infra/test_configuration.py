"""A stack's configuration that is wrong is refused, with everything that is wrong, before anything is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.configuration import ConfigurationError, parse
from tests.support.pulumi_program import CODE_DIGEST, DIGEST, VARIABLES, declared


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, fork: str = "", **entries: Any) -> str:
    with pytest.raises(pulumi.RunError) as error:
        declared(folder, monkeypatch, fork, **entries)
    return str(error.value)


def test_everything_that_is_wrong_is_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(
        tmp_path,
        monkeypatch,
        'region = "mars"\n',
        image="ghcr.io/example/dagster-apollo:latest",
        codeImage="nonsense",
        dockerHost="tcp://example.com",
        port=70000,
        waitTimeoutSeconds=1,
        imgae=DIGEST,
    )

    for part in (
        "apollo.toml: region", "dagster-apollo:image: not an image by digest", "dagster-apollo:codeImage",
        "dagster-apollo:dockerHost: not an engine's address", "dagster-apollo:port",
        "dagster-apollo:waitTimeoutSeconds", "dagster-apollo:imgae: is not an entry", "Did you mean `image`?",
    ):  # fmt: skip
        assert part in told, part


def test_what_the_services_miss_is_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(tmp_path, monkeypatch, variables={"APOLLO_SESSION_SECRET": "short", "OIDC_ISSUER": "https://x.io"})

    assert "POSTGRES_PASSWORD: is not set" in told
    assert "APOLLO_SESSION_SECRET: has fewer than 32 characters" in told
    assert "OIDC_ISSUER: came without OIDC_CLIENT_ID, OIDC_CLIENT_SECRET" in told


def test_a_stack_that_nobody_could_log_in_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {name: VARIABLES[name] for name in ("POSTGRES_PASSWORD", "APOLLO_SESSION_SECRET")}

    told = refused(tmp_path, monkeypatch, variables=variables)

    assert "nobody could log in" in told
    assert "apollo users add" in told


def test_secrets_in_clear_are_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(tmp_path, monkeypatch, secret=False)

    assert "dagster-apollo:variables: is not encrypted" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "variables", ["no JSON but-a-canary", '["a canary"]', '{"NAME": ["a canary"]}', '{"NAME": 42}']
)
def test_variables_of_another_form_are_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: str
) -> None:
    told = refused(tmp_path, monkeypatch, variables=variables)

    assert "dagster-apollo:variables" in told
    assert "canary" not in told
    assert told.count("dagster-apollo:variables") == 1


def test_an_image_that_is_not_named_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "dagster-apollo:image: is not set" in refused(tmp_path, monkeypatch, image=None, codeImage=None)


@pytest.mark.parametrize(
    "image", [DIGEST, "127.0.0.1:5000/apollo@sha256:" + "c" * 64, "sha256:" + "d" * 64, CODE_DIGEST]
)
def test_an_image_is_given_by_digest_or_local_id(image: str) -> None:
    assert parse({"image": image}, set()).image == image


@pytest.mark.parametrize(
    "image", ["apollo", "apollo:latest", "ghcr.io/x/y@sha256:abc", "ghcr.io/x/y:tag@sha256:" + "e" * 64, ""]
)
def test_an_image_given_otherwise_is_refused(image: str) -> None:
    with pytest.raises(ConfigurationError, match="not an image by digest"):
        parse({"image": image}, set())


@pytest.mark.parametrize("host", ["unix:///run/user/1000/docker.sock", "ssh://host", "ssh://me@host.example.com:22"])
def test_an_engine_is_local_or_reached_by_ssh(host: str) -> None:
    assert parse({"image": DIGEST, "dockerHost": host}, set()).docker_host == host


def test_words_for_ssh_without_an_ssh_host_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="ssh:// host only"):
        parse({"image": DIGEST, "sshOptions": '["-i", "key"]'}, set())


def test_what_is_secret_is_in_no_representation() -> None:
    configuration = parse({"image": DIGEST, "variables": '{"NAME": "canary"}'}, {"variables"})

    assert configuration.variables == {"NAME": "canary"}
    assert "canary" not in repr(configuration) + str(configuration)
