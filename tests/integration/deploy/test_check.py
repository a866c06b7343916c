"""`apollo deploy --check` and `apollo smoke` against the fake Render: what they find, and that they change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fake_render.apollo import SERVICES, Deployment, digest, image
from tests.support.fake_render.world import OWNER

WEB, DAEMON, CODE = SERVICES


def details(deployment: Deployment, name: str) -> dict:
    return deployment.service(name).document["serviceDetails"]


def link_webserver(d: Deployment) -> None:
    ids = [d.service(CODE).id, d.service(WEB).id]
    d.world.new_group({"name": "acme-tenants", "ownerId": OWNER, "envVars": [], "serviceIds": ids})


FINDINGS: dict[str, tuple[Callable[[Deployment], object], str, int]] = {
    "nothing": (lambda d: None, "API key: right", 0),
    "another region": (lambda d: details(d, CODE).update(region="ohio"), "region: is 'ohio', not 'frankfurt'", 1),
    "another type": (
        lambda d: d.service(DAEMON).document.update(type="private_service"),
        "type: is 'private_service', not 'background_worker'",
        1,
    ),
    "another repository": (
        lambda d: d.service(CODE).document.update(imagePath="ghcr.io/other/name:1"),
        "image repository: is 'ghcr.io/other/name'",
        1,
    ),
    "a smaller plan": (lambda d: details(d, CODE).update(plan="starter"), "plan: is '0.5c-512mb', not '1c-2g'", 0),
    "suspended": (lambda d: d.service(CODE).document.update(suspended="suspended"), "suspended: is 'suspended'", 1),
    "deploys by itself": (lambda d: d.service(CODE).document.update(autoDeploy="yes"), "autoDeploy: is 'yes'", 0),
    "restarts take a tag": (
        lambda d: d.service(CODE).document.update(imagePath="ghcr.io/acme/dagster-apollo:1"),
        "not by name what is live",
        0,
    ),
    "a service is missing": (lambda d: d.world.services.pop(), f"{CODE}: is no service", 1),
    "nobody migrates": (
        lambda d: details(d, WEB)["envSpecificDetails"].pop("preDeployCommand"),
        "no service has one, and one service must migrate",
        1,
    ),
    "a tenant's secrets are for all": (link_webserver, "is linked to dagster-webserver", 1),
    "the site is red": (lambda d: d.site.ill.update({digest("old"): ("daemon",)}), "status page: is red", 0),
    "strangers are let in": (lambda d: setattr(d.site, "open", True), "answers strangers", 1),
}


@pytest.mark.parametrize(("arrange", "says", "code"), FINDINGS.values(), ids=FINDINGS.keys())
def test_a_check_finds(
    render: Deployment, apollo: Callable, arrange: Callable[[Deployment], object], says: str, code: int
) -> None:
    arrange(render)

    said = apollo(render, "deploy", "--check")

    assert says in said.all
    assert said.code == code, said.all
    assert {line.split()[0] for line in render.fake.asked} == {"GET"}


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"RENDER_API_KEY": "rnd_SomebodyElsesKey+/="}, "was answered with 401"),
        ({"APOLLO_TOKEN": "apollo_SomebodyElsesToken"}, "APOLLO_TOKEN: is refused"),
        ({"RENDER_DEPLOY_HOOK_CODE": "rnd_CaNaRyPasted"}, "RENDER_DEPLOY_HOOK_CODE: is not a deploy hook"),
    ],
)
def test_a_check_finds_wrong_keys(render: Deployment, apollo: Callable, environ: dict[str, str], says: str) -> None:
    said = apollo(render, "deploy", "--check", secrets=tuple(environ.values()), **environ)

    assert said.code == 1
    assert says in said.all


def test_a_check_of_an_image_says_whose_it_is(render: Deployment, apollo: Callable) -> None:
    assert apollo(render, "deploy", "--check", "--image", image("new")).code == 0
    assert apollo(render, "deploy", "--check", "--image", "ghcr.io/other/name:1").code == 1


def test_a_deploy_says_what_it_needs(render: Deployment, apollo: Callable) -> None:
    said = apollo(render, "deploy")

    assert said.code == 2


@pytest.mark.parametrize(("ill", "code", "says"), [((), 0, "well"), (("daemon",), 1, "daemon: is ill")])
def test_smoke_says_whether_it_is_well(
    render: Deployment, apollo: Callable, ill: tuple[str, ...], code: int, says: str
) -> None:
    render.site.ill[digest("old")] = ill

    said = apollo(render, "smoke")

    assert said.code == code
    assert says in said.out
