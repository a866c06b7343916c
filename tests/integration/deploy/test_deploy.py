"""`apollo deploy` against the fake Render: every way in which a deploy ends, with its message and exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
import typer

from dagster_apollo.cli import commands
from tests.support.fake_render.apollo import SERVICES, Deployment, digest, image
from tests.support.fake_render.app import PREFIX, Fault
from tests.support.fake_render.scripted import GOES_LIVE, HANGS
from tests.support.fake_render.world import FakeDeploy, FakeService, World

QUICK = ("--poll-seconds", "0.01", "--settle-seconds", "0", "--smoke-minutes", "0", "--minutes", "0.2")
WEB, DAEMON, CODE = SERVICES
Arrange = Callable[[Deployment], object]
POST_DEPLOY, ROLLBACK = rf"{PREFIX}/services/[^/]+/deploys", rf"{PREFIX}/services/[^/]+/rollback"


@dataclass(frozen=True)
class Case:
    """A situation, and how a deploy of the image `new` ends in it.

    Attributes:
        arrange: makes the situation.
        code: the exit code.
        says: what stands in the message.
        live: the image of each service after it: webserver, daemon, code host.
        configured: the configured image of each service after it.
        words: more arguments.
        environ: other settings.
        options: how the fake is started.
    """

    code: int
    says: tuple[str, ...]
    arrange: Arrange = lambda deployment: None
    live: tuple[str, str, str] = ("old", "old", "old")
    configured: tuple[str, str, str] = ("old", "old", "old")
    words: tuple[str, ...] = ()
    environ: dict[str, str | None] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)


NEW = ("new", "new", "new")


def another_deploy(name: str, status: str = "live") -> Callable[[World, FakeService, FakeDeploy], str]:
    """A step after which somebody else's deploy of the service is under way."""

    def step(world: World, service: FakeService, deploy: FakeDeploy) -> str:
        world.set_status(service, deploy, status)
        world.new_deploy(service, image(name), "manual")
        return status

    return step


def of_another_image(world: World, service: FakeService, deploy: FakeDeploy) -> str:
    deploy.document["image"]["sha"] = digest("another")
    return "live"


def loses_the_first_answer(d: Deployment) -> None:
    d.fake.faults.append(Fault("POST", POST_DEPLOY, 502, heard=True))


def somebody_is_deploying(d: Deployment) -> None:
    d.script.tell(CODE, (*HANGS, "live"))
    d.world.new_deploy(d.service(CODE), image("theirs"), "manual")


def somebody_deploys_for_ever(d: Deployment) -> None:
    d.script.tell(CODE, HANGS)
    d.world.new_deploy(d.service(CODE), image("theirs"), "manual")


def no_code_host(d: Deployment) -> None:
    d.world.services.remove(d.service(CODE))


def a_second_webserver(d: Deployment) -> None:
    d.world.add_service(WEB, "web_service", image("old"))


CASES = {
    "all goes well": Case(0, ("live and well on", "restarts take"), live=NEW, configured=NEW),
    "only tenants changed": Case(
        0,
        ("live and well",),
        live=("old", "old", "new"),
        configured=("old", "old", "new"),
        words=("--changed", "tenants"),
    ),
    "one service is named": Case(
        0,
        ("live and well",),
        live=("old", "new", "old"),
        configured=("old", "new", "old"),
        words=("--services", DAEMON),
    ),
    "it is live already": Case(
        0,
        ("live on sha256:", "already"),
        lambda d: [d.world.set_status(s, d.world.new_deploy(s, image("new"), "api"), "live") for s in d.world.services],
        live=NEW,
        configured=NEW,
    ),
    "the image cannot be pulled": Case(
        3,
        ("build_failed: the image could not be pulled", "what was live before still is", WEB),
        lambda d: d.script.tell(WEB, ("build_in_progress", "build_failed")),
    ),
    "the migration fails": Case(
        3,
        ("pre_deploy_failed", "`apollo migrate`, failed"),
        lambda d: d.script.tell(WEB, ("build_in_progress", "pre_deploy_in_progress", "pre_deploy_failed")),
    ),
    "the last service does not become healthy": Case(
        4,
        ("update_failed: the new version did not become healthy", "rolled back"),
        lambda d: d.script.tell(CODE, ("build_in_progress", "update_in_progress", "update_failed")),
    ),
    "the first service takes too long": Case(
        3,
        ("canceling", "was not live after", "was canceled"),
        lambda d: d.script.tell(WEB, HANGS),
        words=("--minutes", "0.003"),
    ),
    "the last service takes too long": Case(
        4, ("was not live after", "rolled back"), lambda d: d.script.tell(CODE, HANGS), words=("--minutes", "0.05")
    ),
    "somebody cancels it": Case(
        3, ("was canceled by somebody",), lambda d: d.script.tell(WEB, ("build_in_progress", "canceled"))
    ),
    "it is queued": Case(0, ("queued behind another deploy", "live and well"), somebody_is_deploying, NEW, NEW),
    "it is queued and not to be seen": Case(
        0, ("queued behind another deploy",), somebody_is_deploying, NEW, NEW, options={"tells_queued": False}
    ),
    "it is queued for ever": Case(
        5,
        ("still queued after", "it may begin", "what is live must be looked at"),
        somebody_deploys_for_ever,
        words=("--minutes", "0.003"),
        options={"tells_queued": False},
    ),
    "the limit is reached": Case(
        0,
        ("Render says 429; asking again",),
        lambda d: d.fake.faults.append(Fault("POST", POST_DEPLOY, 429, 2, {"Retry-After": "0"})),
        NEW,
        NEW,
    ),
    "the limit is reached while it is followed": Case(
        0,
        ("Render says 429; asking again",),
        lambda d: d.fake.faults.append(
            Fault("GET", rf"{PREFIX}/services/[^/]+/deploys/.*", 429, 2, {"Ratelimit-Reset": "0"})
        ),
        NEW,
        NEW,
    ),
    "the limit stays for long": Case(
        3,
        ("was answered with 429", "Wait a minute"),
        lambda d: d.fake.faults.append(Fault("POST", POST_DEPLOY, 429, 9, {"Retry-After": "3600"})),
    ),
    "the answer is lost": Case(0, ("live and well",), loses_the_first_answer, NEW, NEW),
    "Render is down": Case(
        3,
        ("was answered with 503",),
        lambda d: d.fake.faults.append(Fault("POST", POST_DEPLOY, 503, 9)),
    ),
    "the API key is wrong": Case(
        1, ("was answered with 401", "RENDER_API_KEY"), environ={"RENDER_API_KEY": "rnd_SomebodyElsesKey+/="}
    ),
    "the API key is missing": Case(1, ("RENDER_API_KEY: is not set",), environ={"RENDER_API_KEY": None}),
    "the API key is a pasted line": Case(
        1, ("holds what no key holds",), environ={"RENDER_API_KEY": "rnd_SomebodyElsesKey\nand more"}
    ),
    "the API is no https address": Case(
        1, ("RENDER_API_URL: is no https address",), environ={"RENDER_API_URL": "http://render.example"}
    ),
    "the token is wrong": Case(
        1, ("APOLLO_TOKEN: is refused", "apollo tokens new"), environ={"APOLLO_TOKEN": "apollo_SomebodyElsesToken"}
    ),
    "the token is missing": Case(1, ("APOLLO_TOKEN: is not set",), environ={"APOLLO_TOKEN": None}),
    "the image is a tag": Case(1, ("is not an image by digest",), words=("--image", "ghcr.io/acme/dagster-apollo:1")),
    "the image is another's": Case(
        1, ("is not of this fork's repository",), words=("--image", f"ghcr.io/other/name@{digest('new')}")
    ),
    "a service is misspelt": Case(
        1, ("dagster-demon: is no service of this fork",), words=("--services", "dagster-demon")
    ),
    "a service is not there": Case(1, (f"{CODE}: is no service that the key opens",), no_code_host),
    "a service is there twice": Case(1, (f"{WEB}: is there 2 times",), a_second_webserver),
    "the daemon is ill": Case(
        4,
        ("daemon: is ill", "failed and rolled back"),
        lambda d: d.site.ill.update({digest("new"): ("daemon",)}),
    ),
    "a location that loaded does not": Case(
        4,
        ("location whisky: does not load: whisky is broken", "rolled back"),
        lambda d: d.site.broken.update({digest("new"): ("whisky",)}),
    ),
    "a location did not load before either": Case(
        0,
        ("location whisky: does not load", "it did not come with this deploy", "live and well"),
        lambda d: d.site.broken.update({digest("new"): ("whisky",), digest("old"): ("whisky",)}),
        NEW,
        NEW,
    ),
    "a schedule was behind before": Case(
        0,
        ("schedule whisky/nightly: is ill; it did not come with this deploy",),
        lambda d: d.site.ill.update(
            {digest("new"): ("schedule whisky/nightly",), digest("old"): ("schedule whisky/nightly",)}
        ),
        NEW,
        NEW,
    ),
    "strangers are let in": Case(4, ("login: does not keep strangers",), lambda d: setattr(d.site, "open", True)),
    "the services are of two versions": Case(
        4,
        ("version: is not the same everywhere", "0.2.0"),
        lambda d: d.site.versions.update({digest("new"): "0.2.0"}),
        words=("--changed", "tenants"),
    ),
    "Render runs another image": Case(
        4, ("is live on sha256:",), lambda d: d.script.tell(CODE, (*GOES_LIVE[:-1], of_another_image))
    ),
    "another deploy cancels ours": Case(
        6,
        ("was canceled:", "came after it", "superseded by another deploy"),
        lambda d: d.script.tell(DAEMON, ("build_in_progress", another_deploy("theirs", "update_in_progress"))),
        live=("new", "theirs", "old"),
        options={"overlap": "override"},
    ),
    "another deploy comes after ours": Case(
        6,
        ("another deploy has begun since ours was live",),
        lambda d: d.script.tell(CODE, (*GOES_LIVE[:-1], another_deploy("theirs"))),
        live=("new", "new", "theirs"),
    ),
    "another deploy comes and the smoke test fails": Case(
        6,
        ("another deploy has begun meanwhile; it is left alone",),
        lambda d: (
            d.script.tell(CODE, (*GOES_LIVE[:-1], another_deploy("theirs"))),
            d.site.ill.update({digest("new"): ("daemon",)}),
        ),
        live=("new", "new", "theirs"),
    ),
    "the rollback is refused": Case(
        5,
        ("was not rolled back", "what is live must be looked at"),
        lambda d: (
            d.site.ill.update({digest("new"): ("daemon",)}),
            d.fake.faults.append(Fault("POST", ROLLBACK, 500, 99)),
        ),
        live=NEW,
    ),
    "the rollback fails for one of three": Case(
        5,
        (f"{DAEMON}: was not rolled back", "update_failed"),
        lambda d: (
            d.site.ill.update({digest("new"): ("daemon",)}),
            d.script.tell(DAEMON, GOES_LIVE, ("build_in_progress", "update_failed")),
        ),
        live=("old", "new", "old"),
    ),
    "the configured image cannot be moved": Case(
        7,
        ("its configured image is the old one", "run the same deploy again"),
        lambda d: d.fake.faults.append(Fault("PATCH", rf"{PREFIX}/services/.*", 403, 99)),
        live=NEW,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_way_a_deploy_ends(start_render: Callable[..., Deployment], apollo: Callable, case: Case) -> None:
    deployment = start_render(**case.options)
    case.arrange(deployment)

    said = apollo(deployment, "deploy", "--image", image("new"), *QUICK, *case.words, **case.environ)

    assert said.code == case.code, said.all
    assert [text for text in case.says if text not in said.all] == [], said.all
    if len(deployment.world.services) == len(SERVICES):
        settle(deployment)
        assert deployment.live() == {name: digest(of) for name, of in zip(SERVICES, case.live, strict=True)}
        assert deployment.configured() == {name: image(of) for name, of in zip(SERVICES, case.configured, strict=True)}


def settle(deployment: Deployment) -> None:
    """Let the deploys of others end."""
    for service in deployment.world.services:
        for deploy in list(service.deploys):
            for _ in range(len(GOES_LIVE)):
                deployment.script.asked(deployment.world, service, deploy)


def test_the_commands_are_there() -> None:
    command = typer.main.get_command(commands.app)

    assert {"deploy", "smoke", "secrets"} <= set(command.commands)  # type: ignore[attr-defined]


def test_the_service_that_migrates_goes_first_and_the_code_host_last(render: Deployment, apollo: Callable) -> None:
    apollo(render, "deploy", "--image", image("new"), *QUICK)

    asked = [line for line in render.fake.asked if line.startswith("POST") and line.endswith("/deploys")]
    assert asked == [f"POST {PREFIX}/services/{render.service(name).id}/deploys" for name in SERVICES]


def test_a_rollback_goes_the_other_way_round_and_brings_the_variables_back(
    render: Deployment, apollo: Callable
) -> None:
    render.site.ill[digest("new")] = ("database",)
    render.service(CODE).variables["NEW"] = "1"

    apollo(render, "deploy", "--image", image("new"), *QUICK)

    asked = [line for line in render.fake.asked if line.endswith("/rollback")]
    assert asked == [f"POST {PREFIX}/services/{render.service(name).id}/rollback" for name in reversed(SERVICES)]
    assert render.service(CODE).running.environment == {}


def test_an_answer_that_was_lost_is_not_deployed_twice(render: Deployment, apollo: Callable) -> None:
    loses_the_first_answer(render)

    apollo(render, "deploy", "--image", image("new"), *QUICK)

    assert [len(service.deploys) for service in render.world.services] == [2, 2, 2]


def test_the_registry_credential_is_kept_when_the_configured_image_moves(render: Deployment, apollo: Callable) -> None:
    apollo(render, "deploy", "--image", image("new"), *QUICK)

    assert {service.document["registryCredential"]["id"] for service in render.world.services} == {"rgc-fake"}


def test_a_restart_after_a_deploy_keeps_the_new_image_and_after_a_rollback_the_old(
    render: Deployment, apollo: Callable
) -> None:
    apollo(render, "deploy", "--image", image("new"), *QUICK)
    render.site.broken[digest("newer")] = ("whisky",)
    render.world.restart(render.service(CODE))
    after_the_deploy = render.live()[CODE]

    said = apollo(render, "deploy", "--image", image("newer"), *QUICK)
    render.world.restart(render.service(CODE))

    assert said.code == 4
    assert after_the_deploy == digest("new")
    assert render.live()[CODE] == digest("new")


def test_it_says_what_is_live_now(render: Deployment, apollo: Callable) -> None:
    render.script.tell(CODE, ("update_failed",))

    said = apollo(render, "deploy", "--image", image("new"), *QUICK)

    for name in SERVICES:
        assert f"live: {name}: {digest('old')} ({render.service(name).live().id})" in said.out


def test_a_tenant_whose_folder_is_gone_is_not_missed(render: Deployment, apollo: Callable, fork_folder: object) -> None:
    render.site.locations = {"gone": None, "whisky": None}
    render.script.tell(CODE, (*GOES_LIVE[:-1], lambda *_: render.site.locations.pop("gone", None) or "live"))

    said = apollo(render, "deploy", "--image", image("new"), *QUICK, "--changed", "tenants")

    assert said.code == 0
    assert "location gone: is not there any more" in said.out


def test_a_tenant_that_is_still_in_the_repository_is_missed(render: Deployment, apollo: Callable) -> None:
    render.script.tell(CODE, (*GOES_LIVE[:-1], lambda *_: render.site.locations.pop("riksdag", None) or "live"))

    said = apollo(render, "deploy", "--image", image("new"), *QUICK, "--changed", "tenants")

    assert said.code == 4
    assert "location riksdag: is not there any more" in said.err


def test_a_first_deploy_that_fails_has_nothing_to_go_back_to(
    start_render: Callable[..., Deployment], apollo: Callable
) -> None:
    render = start_render(first=None)
    render.site.answer = lambda *_: (502, "starting")  # type: ignore[method-assign]
    render.script.tell(DAEMON, ("build_failed",))

    said = apollo(render, "deploy", "--image", image("new"), *QUICK)

    assert said.code == 5
    assert "there is nothing to go back to" in said.err


def test_a_fork_that_was_never_named_is_not_deployed(render: Deployment, apollo: Callable, fork_folder: object) -> None:
    (fork_folder / "apollo.toml").write_text("")  # type: ignore[operator]

    said = apollo(render, "deploy", "--image", f"ghcr.io/example/dagster-apollo@{digest('new')}", *QUICK)

    assert said.code == 1
    assert "apollo init" in said.err


# ---- By deploy hooks. ----


def hooks(render: Deployment) -> dict[str, str]:
    return {f"RENDER_DEPLOY_HOOK_{name.rpartition('-')[2].upper()}": render.fake.hook(name) for name in SERVICES}


def encoded(url: str) -> str:
    """A hook as Render's dashboard would show a key of such letters."""
    address, _, key = url.partition("?key=")
    return f"{address}?key={quote(key, safe='')}"


def test_hooks_are_called_where_they_are_set(render: Deployment, apollo: Callable) -> None:
    given = {name: encoded(url) for name, url in hooks(render).items()}

    said = apollo(render, "deploy", "--image", image("new"), *QUICK, secrets=tuple(given.values()), **given)

    assert said.code == 0, said.all
    assert "by its deploy hook" in said.out
    assert [service.deploys[-1].document["trigger"] for service in render.world.services] == ["deploy_hook"] * 3
    assert render.configured() == {name: image("new") for name in SERVICES}


def test_a_hook_that_is_queued_is_followed(render: Deployment, apollo: Callable) -> None:
    somebody_is_deploying(render)
    given = {name: encoded(url) for name, url in hooks(render).items()}

    said = apollo(render, "deploy", "--image", image("new"), *QUICK, **given)

    assert said.code == 0, said.all


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (lambda url, other: other, 1, "and dagster-code is srv-"),
        (lambda url, other: url.replace("127.0.0.1", "localhost"), 1, "is on another host than Render's API"),
        (lambda url, other: url.split("?")[0], 1, "is not a deploy hook"),
        (lambda url, other: "rnd_CaNaRyPastedInTheWrongPlace", 1, "is not a deploy hook"),
        (lambda url, other: url.replace("CaNaRyHook", "AnotherKey"), 3, "was answered with 401"),
    ],
    ids=["another service's", "another host's", "without its key", "a key alone", "of another key"],
)
def test_a_wrong_hook_is_refused(
    render: Deployment, apollo: Callable, spoil: Callable[[str, str], str], code: int, says: str
) -> None:
    given = spoil(encoded(render.fake.hook(CODE)), encoded(render.fake.hook(WEB)))

    said = apollo(
        render,
        "deploy",
        *("--image", image("new"), "--changed", "tenants", *QUICK),
        secrets=(given.partition("?key=")[2] or given,) if "CaNaRy" in given else (),
        RENDER_DEPLOY_HOOK_CODE=given,
    )

    assert said.code == code, said.all
    assert says in said.err
    assert render.live()[CODE] == digest("old")


def test_an_interrupted_deploy_says_what_goes_on(render: Deployment, apollo: Callable) -> None:
    def interrupts(*_: object) -> str:
        signal.raise_signal(signal.SIGINT)  # the main thread, which runs the command, gets it
        return "update_in_progress"

    render.script.tell(DAEMON, ("build_in_progress", interrupts, "update_in_progress"))

    said = apollo(render, "deploy", "--image", image("new"), *QUICK)

    assert said.code == 130, said.all
    assert f"{DAEMON}: interrupted; its deploy goes on at Render and nothing is undone" in said.out
