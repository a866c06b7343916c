"""The fake Render is held to Render's API description, and to Render's own Python client."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from render.public_api import AuthenticatedClient
from render.public_api.api.blueprints import validate_blueprint
from render.public_api.api.deploys import cancel_deploy, create_deploy, list_deploys, retrieve_deploy, rollback_deploy
from render.public_api.api.environment_groups import (
    create_env_group,
    link_service_to_env_group,
    list_env_groups,
    retrieve_env_group,
    unlink_service_from_env_group,
    update_env_group_env_var,
)
from render.public_api.api.one_off_jobs import cancel_job, list_job, post_job, retrieve_job
from render.public_api.api.services import list_services, restart_service, retrieve_service, update_service
from render.public_api.api.workspaces import list_owners
from render.public_api.models import (
    CreateDeployBody,
    DeployStatus,
    EnvGroupPOSTInput,
    EnvVarKeyValue,
    EnvVarValue,
    Error,
    Image,
    PostJobBody,
    RollbackDeployBody,
    ServicePATCH,
    ValidateBlueprintRequest,
)
from render.public_api.types import File

from tests.support.fake_render.apollo import Deployment, deployed, image
from tests.support.fake_render.app import PREFIX, Fault
from tests.support.fake_render.openapi import check_answer, description
from tests.support.fake_render.scripted import HANGS
from tests.support.fake_render.world import OWNER

KEY = "rnd_a_key"
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def render() -> Iterator[Deployment]:
    with deployed(KEY, "token") as deployment:
        yield deployment


@pytest.fixture
def client(render: Deployment) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=f"{render.world.base_url}{PREFIX}", token=KEY)


@pytest.fixture
def ask(render: Deployment) -> Iterator[Ask]:
    """Asks, and holds every answer to the description; remembers which operations were asked."""
    with httpx.Client(base_url=f"{render.world.base_url}{PREFIX}", headers={"Authorization": f"Bearer {KEY}"}) as http:

        def asked(method: str, path: str, content: object = None, **options: Any) -> tuple[int, Any]:
            response = http.request(method, path, json=content, **options)
            body = response.json() if response.content else None
            wrong = check_answer(method, path.partition("?")[0], response.status_code, body)
            assert wrong == [], f"{method} {path}"
            return response.status_code, body

        yield asked


def test_every_operation_answers_as_it_is_described(render: Deployment, ask: Ask) -> None:
    world = render.world
    web = world.service("dagster-webserver").id
    files = {"ownerId": (None, OWNER), "file": ("render.yaml", b"services: []")}
    group = {"name": "g", "ownerId": OWNER, "envVars": [{"key": "A", "value": "1"}], "serviceIds": [web]}
    answers: dict[str, int] = {}

    def does(template: str, method: str, content: object = None, **options: Any) -> Any:
        names = {"{serviceId}": web, "{envVarKey}": "A", **ids}
        path = template
        for name, value in names.items():
            path = path.replace(name, value)
        status, body = ask(method, path, content, **options)
        answers[f"{method.lower()} {template}"] = status
        return body

    ids: dict[str, str] = {}
    does("/owners", "GET")
    does("/services", "GET")
    does("/services/{serviceId}", "GET")
    does("/services/{serviceId}", "PATCH", {"image": {"ownerId": OWNER, "imagePath": image("new")}})
    ids["{deployId}"] = does("/services/{serviceId}/deploys", "POST", {"imageUrl": image("new")})["id"]
    does("/services/{serviceId}/deploys", "GET")
    does("/services/{serviceId}/deploys/{deployId}", "GET")
    does("/services/{serviceId}/deploys/{deployId}/cancel", "POST")
    does("/services/{serviceId}/rollback", "POST", {"deployId": world.service(web).deploys[0].id})
    does("/services/{serviceId}/restart", "POST")
    does("/services/{serviceId}/env-vars", "PUT", [{"key": "A", "value": "1"}, {"key": "B", "generateValue": True}])
    does("/services/{serviceId}/env-vars", "GET")
    does("/services/{serviceId}/env-vars/{envVarKey}", "PUT", {"value": "2"})
    does("/services/{serviceId}/env-vars/{envVarKey}", "GET")
    does("/services/{serviceId}/env-vars/{envVarKey}", "DELETE")
    ids["{jobId}"] = does("/services/{serviceId}/jobs", "POST", {"startCommand": "true"})["id"]
    does("/services/{serviceId}/jobs", "GET")
    does("/services/{serviceId}/jobs/{jobId}", "GET")
    does("/services/{serviceId}/jobs/{jobId}/cancel", "POST")
    ids["{envGroupId}"] = does("/env-groups", "POST", group)["id"]
    does("/env-groups", "GET")
    does("/env-groups/{envGroupId}", "GET")
    does("/env-groups/{envGroupId}", "PATCH", {"name": "h"})
    does("/env-groups/{envGroupId}/env-vars/{envVarKey}", "PUT", {"value": "2"})
    does("/env-groups/{envGroupId}/env-vars/{envVarKey}", "GET")
    does("/env-groups/{envGroupId}/services/{serviceId}", "POST")
    does("/env-groups/{envGroupId}/services/{serviceId}", "DELETE")
    does("/env-groups/{envGroupId}/env-vars/{envVarKey}", "DELETE")
    does("/env-groups/{envGroupId}", "DELETE")
    does("/blueprints/validate", "POST", files=files)

    described = {
        f"{method} {path}" for path, item in description()["paths"].items() for method in item if method != "parameters"
    }
    assert set(answers) == described
    assert {name for name, status in answers.items() if status >= 400} == set()


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/services/srv-nobody", None, 404),
        ("GET", "/services/{web}/deploys/dep-nobody", None, 404),
        ("POST", "/services/{web}/deploys", {"imageUrl": "ghcr.io/other/name@sha256:" + "0" * 64}, 400),
        ("POST", "/services/{web}/deploys", {"clearCache": "perhaps"}, 400),
        ("POST", "/services/{web}/rollback", {}, 400),
        ("POST", "/services/{web}/rollback", {"deployId": "dep-nobody"}, 404),
        ("POST", "/services/{web}/jobs", {}, 400),
        ("PUT", "/services/{web}/env-vars", [{"key": "A"}], 400),
        ("GET", "/env-groups/evg-nobody", None, 404),
        ("POST", "/env-groups", {"name": "g"}, 400),
    ],
)
def test_what_is_wrong_is_refused_as_it_is_described(
    render: Deployment, ask: Ask, method: str, path: str, content: object, status: int
) -> None:
    web = render.service("dagster-webserver").id

    answered, body = ask(method, path.replace("{web}", web), content)

    assert answered == status
    assert body["message"]


def test_a_wrong_key_opens_nothing(render: Deployment) -> None:
    client = AuthenticatedClient(base_url=f"{render.world.base_url}{PREFIX}", token="rnd_another")

    answer = list_services.sync_detailed(client=client)

    assert answer.status_code == 401
    assert isinstance(answer.parsed, Error)


def test_renders_client_reads_services_and_workspaces(render: Deployment, client: AuthenticatedClient) -> None:
    (owner,) = list_owners.sync(client=client)
    rows = list_services.sync(client=client, name=["dagster-webserver", "dagster-code"])
    web = retrieve_service.sync(rows[0].service.id, client=client)

    assert "fake" in owner.owner.name
    assert [row.service.name for row in rows] == ["dagster-webserver", "dagster-code"]
    assert web.image_path == image("old")


def test_renders_client_deploys_follows_and_rolls_back(render: Deployment, client: AuthenticatedClient) -> None:
    web = render.service("dagster-webserver")
    before = web.deploys[0].id

    deploy = create_deploy.sync(web.id, client=client, body=CreateDeployBody(image_url=image("new")))
    seen = [retrieve_deploy.sync(web.id, deploy.id, client=client).status for _ in range(4)]
    back = rollback_deploy.sync_detailed(web.id, client=client, body=RollbackDeployBody(deploy_id=before))

    assert deploy.image.ref == image("new")
    assert seen[-1] is DeployStatus.LIVE
    assert retrieve_deploy.sync(web.id, before, client=client).status is DeployStatus.DEACTIVATED
    assert back.status_code == 201
    assert back.parsed.trigger == "rollback"
    assert back.parsed.image.ref == image("old")


def test_renders_client_sees_a_queued_deploy_as_an_empty_202(render: Deployment, client: AuthenticatedClient) -> None:
    code = render.service("dagster-code")
    render.script.tell("dagster-code", HANGS)
    first = create_deploy.sync(code.id, client=client, body=CreateDeployBody(image_url=image("first")))

    second = create_deploy.sync_detailed(code.id, client=client, body=CreateDeployBody(image_url=image("second")))

    assert second.status_code == 202
    assert second.content == b""
    statuses = [row.deploy.status for row in list_deploys.sync(code.id, client=client)]
    assert statuses[0] is DeployStatus.QUEUED
    assert cancel_deploy.sync(code.id, first.id, client=client).status is DeployStatus.CANCELED
    assert list_deploys.sync(code.id, client=client)[0].deploy.status is not DeployStatus.QUEUED


def test_renders_client_is_limited_with_the_headers_that_say_for_how_long(
    render: Deployment, client: AuthenticatedClient
) -> None:
    code = render.service("dagster-code").id
    body = CreateDeployBody(image_url=image("new"))

    answers = [create_deploy.sync_detailed(code, client=client, body=body) for _ in range(11)]

    assert answers[-1].status_code == 429
    assert isinstance(answers[-1].parsed, Error)
    told = {name: answers[-1].headers[name] for name in ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")}
    assert told == {"ratelimit-limit": "10", "ratelimit-remaining": "0", "ratelimit-reset": "60"}


def test_renders_client_runs_one_off_jobs(render: Deployment, client: AuthenticatedClient) -> None:
    code = render.service("dagster-code").id

    job = post_job.sync(code, client=client, body=PostJobBody(start_command="apollo version"))
    seen = [retrieve_job.sync(code, job.id, client=client).status for _ in range(2)]
    other = post_job.sync(code, client=client, body=PostJobBody(start_command="sleep 60"))
    canceled = cancel_job.sync(code, other.id, client=client)

    assert [str(status) for status in seen] == ["running", "succeeded"]
    assert str(canceled.status) == "canceled"
    assert [row.job.id for row in list_job.sync(code, client=client)] == [other.id, job.id]


def test_renders_client_keeps_the_other_variables_of_a_group(render: Deployment, client: AuthenticatedClient) -> None:
    code = render.service("dagster-code").id
    wanted = EnvGroupPOSTInput(name="g", owner_id=OWNER, env_vars=[EnvVarKeyValue(key="A", value="1")])
    group = create_env_group.sync(client=client, body=wanted)

    update_env_group_env_var.sync(group.id, "B", client=client, body=EnvVarValue(value="2"))
    linked = link_service_to_env_group.sync(group.id, code, client=client)

    found = retrieve_env_group.sync(group.id, client=client)
    assert {variable.key: variable.value for variable in found.env_vars} == {"A": "1", "B": "2"}
    assert [link.name for link in linked.service_links] == ["dagster-code"]
    assert [row.name for row in list_env_groups.sync(client=client, name=["g"])] == ["g"]
    assert unlink_service_from_env_group.sync_detailed(group.id, code, client=client).status_code == 204


def test_a_restart_takes_the_configured_image_and_the_old_variables(
    render: Deployment, client: AuthenticatedClient
) -> None:
    code = render.service("dagster-code")
    code.variables["NEW"] = "1"
    patch = ServicePATCH(image=Image(owner_id=OWNER, image_path=image("moved"), registry_credential_id="rgc-fake"))

    moved = update_service.sync(code.id, client=client, body=patch)
    restart_service.sync_detailed(code.id, client=client)

    assert moved.image_path == image("moved")
    assert code.running is not None
    assert image("moved").endswith(code.running.sha)
    assert code.running.environment == {}


def test_renders_client_has_blueprints_validated(client: AuthenticatedClient) -> None:
    good = b"services:\n- {type: worker, name: w, runtime: image, image: {url: a/b:1}, region: ohio}\n"
    wrong = b"services:\n- {type: worker, name: w, runtime: image, image: {url: a/b:1}, region: mars}\n"

    told = [
        validate_blueprint.sync(
            client=client, body=ValidateBlueprintRequest(owner_id=OWNER, file=File(io.BytesIO(text), "render.yaml"))
        )
        for text in (good, wrong)
    ]

    assert told[0].valid is True
    assert told[0].plan.services == ["w"]
    assert told[1].valid is False
    assert told[1].errors[0].path == "services[0].region"


def test_a_deploy_hook_deploys_its_image_once(render: Deployment) -> None:
    code = render.service("dagster-code")

    good = httpx.post(f"{render.fake.hook('dagster-code')}&imgURL={quote(image('new'), safe='')}")
    refused = httpx.post(render.fake.hook("dagster-code").split("?")[0], params={"key": "another"})
    foreign = httpx.get(render.fake.hook("dagster-code") + "&imgURL=ghcr.io%2Fother%2Fname%3A1")

    assert good.status_code == 200
    assert good.json()["deploy"]["id"] == code.deploys[-1].id
    assert code.document["imagePath"] == image("old")
    assert refused.status_code == 401
    assert foreign.status_code == 404


def test_it_says_that_it_is_a_fake(render: Deployment) -> None:
    front = httpx.get(render.world.base_url)

    assert "fake" in front.text
    assert front.headers["server"] == "fake-render"


def test_it_fails_when_it_is_told_to(render: Deployment, client: AuthenticatedClient) -> None:
    render.fake.faults.append(Fault("GET", f"{PREFIX}/owners", 503))

    assert list_owners.sync_detailed(client=client).status_code == 503
    assert list_owners.sync_detailed(client=client).status_code == 200
