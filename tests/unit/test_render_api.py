"""Render's API over HTTP: what is waited for, what is asked again, what is never told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from dagster_apollo.deploy.image import Image, digest_of, parse_image, repository_of
from dagster_apollo.deploy.render_api import Hook, RenderApi
from dagster_apollo.errors import DeployError, RenderError
from dagster_apollo.fork import parse_fork

KEY = "rnd_a-key-of-a-test"
DIGEST = "sha256:" + "0" * 64
Answer = Callable[[httpx.Request], httpx.Response]


@dataclass
class PatientClock:
    """A clock that notes for how long it was asked to wait."""

    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def api(clock: PatientClock, *answers: httpx.Response | Exception) -> tuple[RenderApi, list[httpx.Request]]:
    left, asked = list(answers), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Exception):
            raise given
        return given

    return RenderApi("https://render.test/v1", KEY, clock=clock, transport=httpx.MockTransport(answer)), asked


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7), ({"Ratelimit-Reset": "30"}, 30), ({}, 15), ({"Retry-After": "tomorrow"}, 15)],
)
def test_a_rate_limit_is_waited_out_for_as_long_as_it_says(headers: dict[str, str], seconds: float) -> None:
    clock = PatientClock()
    client, asked = api(clock, httpx.Response(429, headers=headers), httpx.Response(202))

    started = client.start_deploy("srv-1", Image("a/b", DIGEST))

    assert started is None
    assert clock.slept == [pytest.approx(seconds, abs=0.2)]
    assert [request.method for request in asked] == ["POST", "POST"]


def test_a_limit_of_an_hour_is_not_waited_for() -> None:
    clock = PatientClock()
    client, _ = api(clock, httpx.Response(429, headers={"Retry-After": "3600"}))

    with pytest.raises(RenderError, match="429"):
        client.owners()
    assert clock.slept == []


@pytest.mark.parametrize("failure", [httpx.Response(503), httpx.ConnectError("no route")])
def test_a_question_is_asked_again_and_an_order_is_not(failure: httpx.Response | Exception) -> None:
    clock = PatientClock()
    client, asked = api(clock, failure, httpx.Response(200, json=[]))

    assert client.owners() == []
    assert len(asked) == 2

    client, asked = api(clock, failure, httpx.Response(200, json=[]))
    with pytest.raises(RenderError) as refused:
        client.start_deploy("srv-1", Image("a/b", DIGEST))
    assert len(asked) == 1
    assert refused.value.status == (503 if isinstance(failure, httpx.Response) else None)


def test_a_list_is_read_to_its_end() -> None:
    rows = [{"owner": {"id": f"tea-{number}"}, "cursor": str(number)} for number in range(150)]

    def answer(request: httpx.Request) -> httpx.Response:
        first = int(request.url.params.get("cursor", "-1")) + 1
        return httpx.Response(200, json=rows[first : first + int(request.url.params["limit"])])

    client = RenderApi("https://render.test/v1", KEY, transport=httpx.MockTransport(answer))

    assert len(client.owners()) == 150


def test_a_hooks_key_is_sent_and_is_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clock = PatientClock()
    hook = Hook("srv-1", "https://render.test/deploy/srv-1", "the+hooks/key")
    client, asked = api(clock, httpx.Response(200, json={"deploy": {"id": "dep-1"}}))
    broken, _ = api(clock, httpx.ConnectError("https://render.test/deploy/srv-1?key=the+hooks/key"))

    assert client.call_hook(hook, Image("a/b", DIGEST)) == "dep-1"
    with pytest.raises(RenderError) as refused:
        broken.call_hook(hook, Image("a/b", DIGEST))

    assert dict(asked[0].url.params) == {"imgURL": f"a/b@{DIGEST}", "key": "the+hooks/key"}
    assert "Authorization" not in asked[0].headers
    assert refused.value.__context__ is None
    assert "/deploy/srv-1" in caplog.text
    assert "hooks" not in caplog.text + str(refused.value) + repr(hook)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"<html>", "something else than JSON"), (b'[{"owner": {"name": "secret-value"}}]', "does not have the form")],
)
def test_an_answer_that_is_no_answer_is_refused_and_not_shown(content: bytes, says: str) -> None:
    client, _ = api(PatientClock(), httpx.Response(200, content=content))

    with pytest.raises(RenderError, match=says) as refused:
        client.owners()
    assert "secret-value" not in str(refused.value)
    assert refused.value.__context__ is None


@pytest.mark.parametrize(
    ("reference", "repository", "digest"),
    [
        ("ghcr.io/a/b", "ghcr.io/a/b", None),
        ("ghcr.io/a/b:main", "ghcr.io/a/b", None),
        (f"ghcr.io/a/b@{DIGEST}", "ghcr.io/a/b", DIGEST),
        (f"127.0.0.1:5000/a/b:1@{DIGEST}", "127.0.0.1:5000/a/b", DIGEST),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a", None),
    ],
)
def test_an_image_is_a_repository_and_perhaps_a_digest(reference: str, repository: str, digest: str | None) -> None:
    assert repository_of(reference) == repository
    assert digest_of(reference) == digest


def test_everything_that_is_wrong_with_an_image_is_told_together() -> None:
    with pytest.raises(DeployError) as refused:
        parse_image("ghcr.io/other/name:1", parse_fork({"image": "ghcr.io/acme/dagster-apollo"}))

    assert len(refused.value.problems) == 2
