"""`apollo secrets push` against the fake Render: what it puts there, what it leaves, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_apollo.warehouse.rotation import new_key_pair
from tests.support.fake_render.apollo import Deployment, digest
from tests.support.fake_render.app import PREFIX, Fault
from tests.support.fake_render.world import OWNER

QUICK = ("--poll-seconds", "0.01", "--settle-seconds", "0", "--smoke-minutes", "0", "--minutes", "0.2")
CODE, WEB = "dagster-code", "dagster-webserver"
PASSWORD = 'CaNaRy own+/="7&8'
SHARED = {
    "SNOWFLAKE_ACCOUNT": "acme-one",
    "SNOWFLAKE_USER": "DBT",
    "SNOWFLAKE_ROLE": "DBT",
    "SNOWFLAKE_WAREHOUSE": "DBT",
    "SNOWFLAKE_DATABASE": "ANALYTICS",
}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key's file."""
    path = tmp_path_factory.mktemp("key") / "snowflake_key.p8"
    new_key_pair(path)
    return path


@pytest.fixture
def environ(pem: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A laptop's: two tenants on one key, one of them with a password of its own, and another's variable."""
    monkeypatch.delenv("SNOWFLAKE_PRIVATE_KEY_PATH", raising=False)
    return {
        **SHARED,
        "SNOWFLAKE_PRIVATE_KEY_PEM": pem.read_text(),
        "WHISKY__SNOWFLAKE_DATABASE": "WHISKY",
        "WHISKY__FTP_PASSWORD": PASSWORD,
        "SOMETHING_ELSE": "not a tenant's",
    }


def group_of(render: Deployment) -> dict[str, str]:
    (group,) = render.world.groups
    return {variable["key"]: variable["value"] for variable in group["envVars"]}


def push(apollo: Callable, render: Deployment, environ: dict[str, str], *words: str):
    planted = (PASSWORD, environ.get("SNOWFLAKE_PRIVATE_KEY_PEM", PASSWORD))
    return apollo(render, "secrets", "push", *QUICK, *words, secrets=planted, **environ)


def test_a_first_push_makes_the_group_links_the_code_host_alone_and_deploys_it(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    render.site.locations["whisky"] = "WHISKY__FTP_PASSWORD"

    said = push(apollo, render, environ)

    assert said.code == 0, said.all
    (group,) = render.world.groups
    assert group["name"] == "acme-tenants"
    assert [link["name"] for link in group["serviceLinks"]] == [CODE]
    expected = {name: value for name, value in environ.items() if name != "SOMETHING_ELSE"}
    assert group_of(render) == expected
    running = render.service(CODE).running
    assert running.environment["WHISKY__FTP_PASSWORD"] == PASSWORD
    assert running.sha == digest("old")
    assert render.service(WEB).running.environment == {}


def test_a_dry_run_shows_names_and_fingerprints_and_changes_nothing(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    said = push(apollo, render, environ, "--dry-run")

    assert said.code == 0
    assert "new      WHISKY__FTP_PASSWORD " in said.out
    assert "key of whisky: SHA256:" in said.out
    assert render.world.groups == []
    assert {line.split()[0] for line in render.fake.asked} == {"GET"}


def test_a_fingerprint_is_the_same_for_a_value_and_cannot_be_had_without_the_key(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    from dagster_apollo.deploy.secrets import fingerprint

    first, second = (push(apollo, render, environ, "--dry-run").out for _ in range(2))

    assert first == second
    assert fingerprint("a", "NAME", PASSWORD) != fingerprint("b", "NAME", PASSWORD)
    assert fingerprint("a", "NAME", PASSWORD) != fingerprint("a", "OTHER", PASSWORD)


def test_a_push_for_one_tenant_leaves_what_others_have(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    theirs = [{"key": "RIKSDAG__FTP_PASSWORD", "value": "theirs"}, {"key": "LOG_LEVEL", "value": "info"}]
    code = render.service(CODE).id
    render.world.new_group({"name": "acme-tenants", "ownerId": OWNER, "envVars": theirs, "serviceIds": [code]})

    said = push(apollo, render, environ, "--tenant", "whisky")

    assert said.code == 0, said.all
    assert group_of(render).items() >= {"RIKSDAG__FTP_PASSWORD": "theirs", "LOG_LEVEL": "info"}.items()
    assert group_of(render)["WHISKY__FTP_PASSWORD"] == PASSWORD
    assert "left     LOG_LEVEL" in said.out


@pytest.mark.parametrize(
    ("words", "left"),
    [((), {"WHISKY__OLD", "GONE__X", "RIKSDAG__Y"}), (("--tenant", "whisky"), {"GONE__X", "RIKSDAG__Y"})],
    ids=["not asked to", "asked to, for one tenant"],
)
def test_only_prune_removes_and_only_what_is_the_chosen_tenants(
    render: Deployment, apollo: Callable, environ: dict[str, str], words: tuple[str, ...], left: set[str]
) -> None:
    old = [{"key": name, "value": "old"} for name in ("WHISKY__OLD", "GONE__X", "RIKSDAG__Y")]
    code = render.service(CODE).id
    render.world.new_group({"name": "acme-tenants", "ownerId": OWNER, "envVars": old, "serviceIds": [code]})

    said = push(apollo, render, environ, *words, *(("--prune",) if words else ()))

    assert said.code == 0, said.all
    assert {name for name, value in group_of(render).items() if value == "old"} == left
    assert ("removed  WHISKY__OLD" in said.out) == bool(words)


def test_a_second_push_does_nothing_and_a_changed_value_is_deployed(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    push(apollo, render, environ)
    deploys = len(render.service(CODE).deploys)

    again = push(apollo, render, environ)
    changed = push(apollo, render, {**environ, "WHISKY__SNOWFLAKE_DATABASE": "OTHER"})

    assert "nothing to do" in again.out
    assert "changed  WHISKY__SNOWFLAKE_DATABASE" in changed.out
    assert "same     WHISKY__FTP_PASSWORD" in changed.out
    assert len(render.service(CODE).deploys) == deploys + 1


def test_a_key_in_a_file_is_carried_as_text(
    render: Deployment, apollo: Callable, environ: dict[str, str], pem: Path
) -> None:
    by_path = {name: value for name, value in environ.items() if name != "SNOWFLAKE_PRIVATE_KEY_PEM"}
    by_path["SNOWFLAKE_PRIVATE_KEY_PATH"] = str(pem)
    body = "".join(pem.read_text().strip().splitlines()[1:-1])

    said = apollo(render, "secrets", "push", *QUICK, secrets=(body,), **by_path, SNOWFLAKE_PRIVATE_KEY_PEM=None)

    assert said.code == 0, said.all
    assert group_of(render)["SNOWFLAKE_PRIVATE_KEY_B64"] == body
    assert "SNOWFLAKE_PRIVATE_KEY_PATH" not in group_of(render)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"SNOWFLAKE_PRIVATE_KEY_PEM": "-----BEGIN PRIVATE KEY-----\nCaNaRyNotAKey\n-----END PRIVATE KEY-----"}, "KEY"),
        ({"SNOWFLAKE_PRIVATE_KEY_PEM": None}, "SNOWFLAKE_PRIVATE_KEY"),
        ({"SNOWFLAKE_ROLE": None}, "SNOWFLAKE_ROLE: is not set"),
        ({"SNOWFLAKE_HOST": "127.0.0.1"}, "names this machine"),
        ({"RENDER_API_KEY": "rnd_SomebodyElsesKey+/="}, "was answered with 401"),
        ({"APOLLO_TOKEN": None}, "APOLLO_TOKEN: is not set"),
        ({"RENDER_DEPLOY_HOOK_CODE": "rnd_CaNaRyPasted"}, "is not a deploy hook"),
    ],
    ids=["no key", "no key at all", "a setting is missing", "the local Snowflake", "API key", "token", "hook"],
)
def test_what_would_not_work_there_is_refused_before_anything_is_changed(
    render: Deployment, apollo: Callable, environ: dict[str, str], change: dict[str, str | None], says: str
) -> None:
    planted = ("CaNaRyNotAKey", "rnd_CaNaRyPasted", PASSWORD)

    said = apollo(render, "secrets", "push", *QUICK, secrets=planted, **{**environ, **change})

    assert said.code == 1, said.all
    assert says in said.err
    assert render.world.groups == []
    assert len(render.service(CODE).deploys) == 1


def test_two_forms_of_one_key_are_refused(render: Deployment, apollo: Callable, environ: dict[str, str]) -> None:
    there = [{"key": "SNOWFLAKE_PRIVATE_KEY_B64", "value": "older"}]
    code = render.service(CODE).id
    render.world.new_group({"name": "acme-tenants", "ownerId": OWNER, "envVars": there, "serviceIds": [code]})

    refused = push(apollo, render, environ)
    pruned = push(apollo, render, environ, "--prune")

    assert refused.code == 1
    assert "SNOWFLAKE_PRIVATE_KEY_B64 and SNOWFLAKE_PRIVATE_KEY_PEM: would both hold a key" in refused.err
    assert pruned.code == 0
    assert "SNOWFLAKE_PRIVATE_KEY_B64" not in group_of(render)


def test_a_group_that_another_service_reads_is_refused(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    linked = [render.service(CODE).id, render.service(WEB).id]
    render.world.new_group({"name": "acme-tenants", "ownerId": OWNER, "envVars": [], "serviceIds": linked})

    said = push(apollo, render, environ)

    assert said.code == 1
    assert "is linked to dagster-webserver" in said.err
    assert group_of(render) == {}


def test_values_that_break_a_location_are_rolled_back_and_pushed_again_once_they_are_right(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    push(apollo, render, environ)
    render.site.locations["riksdag"] = "RIKSDAG__NEEDED"
    render.service(CODE).running.environment["RIKSDAG__NEEDED"] = "by hand"
    render.service(CODE).live().environment["RIKSDAG__NEEDED"] = "by hand"

    broken = push(apollo, render, {**environ, "WHISKY__FTP_PASSWORD": PASSWORD + "2"})
    right = push(apollo, render, {**environ, "WHISKY__FTP_PASSWORD": PASSWORD + "2", "RIKSDAG__NEEDED": "pushed"})

    assert broken.code == 4
    assert "location riksdag: does not load: RIKSDAG__NEEDED is not set" in broken.err
    assert right.code == 0, right.all
    assert render.service(CODE).running.environment["RIKSDAG__NEEDED"] == "pushed"


def test_an_answer_that_repeats_a_value_is_not_shown(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    repeats = Fault("POST", f"{PREFIX}/env-groups", 400, message=f"bad value {json.dumps(PASSWORD)}")
    render.fake.faults.append(repeats)

    said = push(apollo, render, environ)

    assert said.code == 1
    assert "was answered with 400" in said.err


def test_a_push_that_stops_half_way_says_so_and_the_next_does_the_rest(
    render: Deployment, apollo: Callable, environ: dict[str, str]
) -> None:
    code = render.service(CODE).id
    render.world.new_group({"name": "acme-tenants", "ownerId": OWNER, "envVars": [], "serviceIds": [code]})
    render.fake.faults.append(Fault("PUT", rf"{PREFIX}/env-groups/.*/WHISKY__FTP_PASSWORD", 500))

    stopped = push(apollo, render, environ)
    again = push(apollo, render, environ)

    assert stopped.code == 1
    assert "acme-tenants: may hold some of the new values and not others" in stopped.err
    assert again.code == 0
    assert group_of(render)["WHISKY__FTP_PASSWORD"] == PASSWORD
