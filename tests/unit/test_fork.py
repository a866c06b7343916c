"""`apollo.toml`: every field has a default, every mistake is told with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.fork import FILE, Fork, ForkError, load_fork, parse_fork


def refused(**content: object) -> str:
    with pytest.raises(ForkError) as error:
        parse_fork(content)
    return str(error.value)


def test_without_a_file_every_default_holds(tmp_path: Path) -> None:
    assert load_fork(tmp_path) == Fork()
    assert Fork().is_placeholder


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('name = "Malt"\nregion = "mars"\nimage = "malt:latest"\n[plans]\ncode = "huge"\n')

    with pytest.raises(ForkError) as error:
        load_fork(tmp_path)

    told = str(error.value)
    assert [field for field in ("name", "region", "image", "plans.code") if f"{FILE}: {field}:" not in told] == []


def test_a_file_that_is_not_toml_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('name = "malt\n')

    with pytest.raises(ForkError, match=r"is not TOML.*line 1"):
        load_fork(tmp_path)


@pytest.mark.parametrize(
    ("content", "near"),
    [
        ({"regoin": "ohio"}, "`region`"),
        ({"plans": {"databse": "basic-1gb"}}, "`database`"),
        ({"login": {"domain": {}}}, "`domains`"),
        ({"docker_host": {"socket": "/x"}}, "`engine_socket`"),
        ({"login": {"emails": {"a@example.com": {"rol": "viewer"}}}}, "`role`"),
    ],
)
def test_a_misspelt_field_is_told_with_the_one_that_was_meant(content: dict[str, object], near: str) -> None:
    assert f"Did you mean {near}?" in refused(**content)


@pytest.mark.parametrize(
    "image",
    ["malt", "ghcr.io/Malt/data", "ghcr.io/malt/data:main", "ghcr.io/malt/data@sha256:0", "https://ghcr.io/malt/x"],
)
def test_an_image_is_a_repository_without_a_tag(image: str) -> None:
    assert "image" in refused(image=image)


@pytest.mark.parametrize("path", ["docker.sock", "/a:/b", "", "/a b", "/"])
def test_a_socket_is_an_absolute_path_that_a_mount_can_name(path: str) -> None:
    assert "docker_host.engine_socket" in refused(docker_host={"engine_socket": path})


@pytest.mark.parametrize("domain", ["https://data.malt.com", "data", "data.malt.com/x", "Data.malt.com", "-a.malt.com"])
def test_a_domain_is_a_bare_host_name(domain: str) -> None:
    assert "domain" in refused(domain=domain)


@pytest.mark.parametrize(
    "rule",
    [
        {"confined": True},
        {"role": "administrator", "tenants": ["a"]},
        {"confined": True, "tenants": []},
        {"role": "king"},
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(rule: dict[str, object]) -> None:
    assert "login.domains.malt.com" in refused(login={"domains": {"malt.com": rule}})
