"""Dagster for many dbt tenants on one Docker host: the topology, as Pulumi resources.

What a service is stands in `dagster_apollo/topology.py`, how Docker is told in `docker_host.py`, what one host differs
in from another in `configuration.py`. This file says what there is, in the order in which it comes up.
"""

from __future__ import annotations

from pathlib import Path

import pulumi

from infra.docker_host import DockerHost
from infra.stack import read

stack = read(Path(__file__).resolve().parents[1])
services, configuration = stack.services, stack.configuration

host = DockerHost(stack)
host_image = host.image("host-image", configuration.image)
code_image = host.image("code-image", configuration.code_image or configuration.image)

postgres = host.container(services.database, host.image("postgres-image", services.database.image))
code = host.container(services.code, code_image, after=[postgres])
daemon = host.container(services.daemon, host_image, after=[postgres])
webserver = host.container(services.webserver, host_image, after=[postgres])
if services.proxy:
    host.container(services.proxy, host.image("caddy-image", services.proxy.image), after=[webserver])

pulumi.export("address", stack.address)
