"""A Docker host with a domain: Caddy ends TLS, here with its internal authority; the webserver is behind it alone."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.compose import ComposeHost, compose_host
from tests.support.container_engine import ContainerEngine
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DOMAIN = "data.apollo.test"
# What the test differs in: who signs, and a port that need not be free on every machine.
OVERRIDE = """\
services:
  caddy:
    command: [caddy, reverse-proxy, --internal-certs, --from, {domain}, --to, "dagster-webserver:3000"]
    ports: !override ["127.0.0.1:{port}:443"]
"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def host(container_engine: ContainerEngine, module_folder: Path, port: int) -> Iterator[ComposeHost]:
    override = {"for_the_test.yaml": OVERRIDE.format(domain=DOMAIN, port=port)}
    with compose_host(
        container_engine, module_folder, "apollo-test-caddy", fields={"domain": DOMAIN}, overrides=override
    ) as made:
        made.compose("build", "dagster-webserver")
        made.up("caddy")
        yield made


@pytest.fixture
def person(port: int) -> Iterator[httpx.Client]:
    """Somebody whose machine finds the domain here."""

    class AtTheDomain(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            # Only where the connection goes is another: cookies belong to the domain.
            here = request.url.copy_with(host="127.0.0.1", port=port)
            extensions = {**request.extensions, "sni_hostname": DOMAIN}
            sent = httpx.Request(
                request.method, here, headers=request.headers, stream=request.stream, extensions=extensions
            )
            return super().handle_request(sent)

    transport = AtTheDomain(verify=False)
    with httpx.Client(transport=transport, base_url=f"https://{DOMAIN}", timeout=30, trust_env=False) as client:
        yield client


def test_only_the_proxy_is_published(host: ComposeHost) -> None:
    published = {
        name for name, each in host.containers().items() if any((each["HostConfig"]["PortBindings"] or {}).values())
    }  # fmt: skip

    assert published == {"caddy"}


def test_a_stranger_is_led_to_the_login_at_the_domain(host: ComposeHost, person: httpx.Client) -> None:
    answer = person.get("/", headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"})

    assert answer.is_redirect
    assert httpx.URL(answer.headers["location"]).path == "/login"
    assert person.get("/livez").json() == {"alive": True}
    assert person.get("/status").status_code == 401


def test_the_password_lets_a_person_in_with_a_cookie_for_https_alone(host: ComposeHost, person: httpx.Client) -> None:
    form = person.get("/login", headers={"Accept": "text/html"})
    token = re.search(r'name="token" value="([^"]+)"', form.text)
    assert token
    who = host.stack.credentials
    fields = {"token": html.unescape(token[1]), "next": "/", "name": who.user, "password": who.password}

    answer = person.post("/login", data=fields, headers={"Origin": f"https://{DOMAIN}"})

    assert answer.is_redirect, answer.text[:500]
    cookies = answer.headers.get_list("set-cookie")
    assert cookies
    assert all("secure" in cookie.lower() and "httponly" in cookie.lower() for cookie in cookies)
    assert person.get("/", headers={"Accept": "text/html"}).status_code == 200
