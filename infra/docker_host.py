"""How the topology's services, volumes and network are declared to Pulumi's Docker provider.

Values are the topology's, the order is the program's; here is the form. It is not free: the provider finds a difference
for ever between spellings that mean the same, and changes some properties without the container learning of it
(docs/adr/0007-docker-hosts-by-pulumi.md). tests/infra/ asserts each of these traps by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_docker as docker

from dagster_apollo.fork import Fork
from dagster_apollo.topology import LOG_OPTIONS, RESTART, SECURITY_OPTIONS, HealthCheck, Service, labels
from infra.stack import Stack
from infra.variables import environment

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104  the second is the proxy's alone
# What the provider says it has updated and never tells the container: such a change has to make it anew.
NEVER_UPDATED = ["healthcheck", "tmpfs", "init", "cpuPeriod", "cpuQuota"]
# A changed label or option would make a volume anew, without its data.
NEVER_CHANGED = ["labels", "driverOpts"]
TLS_PORTS = (80, 443)


def container_name(fork: Fork, service: Service) -> str:
    """A container's name on the host."""
    return f"{fork.name}-{service.name}"


def volume_name(fork: Fork, name: str) -> str:
    """A volume's name on the host, as Compose forms it too."""
    return f"{fork.name}_{name}"


class DockerHost:
    """A stack's Docker engine, with the private network and the lasting volumes declared on it.

    Without `dockerHost` it is the engine that the `docker` command uses here.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._fork = stack.fork
        configuration = stack.configuration
        self._engine = docker.Provider(
            "engine", host=configuration.docker_host, ssh_opts=list(configuration.ssh_options) or None
        )
        # A change of the network makes every container anew: it has nothing that could change.
        name = f"{self._fork.name}_private"
        self._network = docker.Network("private", name=name, driver="bridge", opts=self._options())
        names = {name for service in stack.services.containers for name in service.volumes or {}}
        self._volumes = {name: self._volume(name) for name in sorted(names)}

    def image(self, name: str, reference: str | None) -> docker.RemoteImage:
        """An image, pulled when it is missing and before anything is stopped for it; it stays when all is removed."""
        return docker.RemoteImage(name, name=str(reference), keep_locally=True, opts=self._options())

    def container(
        self, service: Service, image: docker.RemoteImage, after: Sequence[docker.Container] = ()
    ) -> docker.Container:
        """A service as a container, which counts as there when it is healthy.

        Args:
            service: what the topology says of it.
            image: what it runs.
            after: the containers that are healthy before it starts.
        """
        megabytes = service.plan.memory_mb
        stack = self._stack
        variables = environment(service, stack.services, stack.configuration.variables, stack.address)
        return docker.Container(
            service.name,
            name=container_name(self._fork, service),
            image=image.image_id,
            command=list(service.command) or None,
            user=service.user or None,
            envs=_secret([f"{name}={text}" for name, text in sorted(variables.items())]),
            networks_advanced=[self._in_network(service)],
            ports=self._published(service),
            volumes=self._mounted(service),
            tmpfs=dict.fromkeys(service.tmpfs, "") or None,
            read_only=service.read_only,
            capabilities=_capabilities(service),
            security_opts=list(SECURITY_OPTIONS),
            memory=megabytes,
            memory_swap=megabytes,  # the same: no swap
            cpus=str(float(service.plan.cpus)),
            healthcheck=_health(service.health),
            wait=True,
            wait_timeout=stack.configuration.wait_timeout_seconds,
            must_run=True,
            restart=RESTART,
            destroy_grace_seconds=service.shutdown_seconds,
            log_driver="json-file",
            log_opts=dict(LOG_OPTIONS),
            labels=[
                docker.ContainerLabelArgs(label=label, value=value)
                for label, value in sorted(labels(self._fork, service).items())
            ],
            opts=self._options(
                depends_on=list(after),
                replace_on_changes=NEVER_UPDATED,
                delete_before_replace=True,  # the new one has the old one's name
            ),
        )

    def _options(self, **more: object) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(provider=self._engine, **more)  # type: ignore[arg-type]

    def _volume(self, name: str) -> docker.Volume:
        options = self._options(protect=True, retain_on_delete=True, ignore_changes=NEVER_CHANGED)
        return docker.Volume(name, name=volume_name(self._fork, name), opts=options)

    def _in_network(self, service: Service) -> docker.ContainerNetworksAdvancedArgs:
        return docker.ContainerNetworksAdvancedArgs(name=self._network.name, aliases=[service.name])

    def _mounted(self, service: Service) -> list[docker.ContainerVolumeArgs] | None:
        volumes, binds = sorted((service.volumes or {}).items()), sorted((service.binds or {}).items())
        return [
            *(
                docker.ContainerVolumeArgs(volume_name=self._volumes[name].name, container_path=path)
                for name, path in volumes
            ),
            *(docker.ContainerVolumeArgs(host_path=there, container_path=path) for there, path in binds),
        ] or None

    def _published(self, service: Service) -> list[docker.ContainerPortArgs] | None:
        """On the host's loopback, unless the service is there to be reached by everybody."""
        if not service.public or service.port is None:
            return None
        if service.port in TLS_PORTS:
            return [docker.ContainerPortArgs(internal=port, external=port, ip=EVERYWHERE) for port in TLS_PORTS]
        port = self._stack.configuration.port
        return [docker.ContainerPortArgs(internal=service.port, external=port, ip=LOOPBACK)]


def go_duration(seconds: float) -> str:
    """Seconds as Go writes a duration, which is what the engine answers: 90 → `1m30s`, 1.5 → `1.5s`, 0.5 → `500ms`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _secret(words: list[str]) -> pulumi.Output[list[str]] | None:
    """A list that is encrypted as a whole in the state."""
    return pulumi.Output.secret(words) if words else None


def _capabilities(service: Service) -> docker.ContainerCapabilitiesArgs:
    added = [f"CAP_{name}" for name in service.capabilities]
    return docker.ContainerCapabilitiesArgs(adds=added or None, drops=["ALL"])


def _health(health: HealthCheck) -> docker.ContainerHealthcheckArgs:
    return docker.ContainerHealthcheckArgs(
        tests=["CMD", *health.command],
        interval=go_duration(health.interval_seconds),
        timeout=go_duration(health.timeout_seconds),
        start_period=go_duration(health.start_period_seconds),
        retries=health.retries,
    )
