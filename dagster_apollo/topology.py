"""The services that a deployment is made of, each named once: what it runs, reads, writes, needs and is allowed.

Pure values. `render.yaml`, `compose.yaml` and the Pulumi program are projections of them; a difference between two of
those is a difference between the platforms, never a second opinion. No tenant is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dagster_apollo.fork import Fork
from dagster_apollo.plans import PLANS, Plan
from dagster_apollo.run_places import Elsewhere
from dagster_apollo.settings import SETTINGS, Process, Setting

Role = Literal["webserver", "daemon", "code"]
Source = Literal[
    "text", "default", "secret", "generated", "database_url", "address_of_code_host", "of_code_host", "public_url",
    "access_file",
]  # fmt: skip

WEBSERVER_PORT, CODE_PORT, DATABASE_PORT = 3000, 4000, 5432
POSTGRES_MAJOR = "17"
DATABASE_NAME = DATABASE_USER = "dagster"
# Where a role may write; the root file system is read-only. The image makes both, owned as its user.
STATE_DIR = "/var/lib/apollo"
# Where `docker`, the library too, looks for the engine when nothing else is said.
ENGINE_SOCKET = "/var/run/docker.sock"
# Where the daemon finds how to reach a cluster: on Render a secret file of this name, on a Docker host a file of it.
KUBECONFIG = "/etc/secrets/kubeconfig"
# The tag of what was deployed last: what Render pulls when nobody tells it a digest.
IMAGE_TAG = "main"
# `10001` is in no distribution's range of system users, so that a mounted folder cannot be somebody's by accident.
UNPRIVILEGED = "10001:10001"
# Render's longest: what a run in flight is given to end (https://render.com/docs/deploys).
DRAIN_SECONDS = 300
# The same for every container of a Docker host.
RESTART = "unless-stopped"
LOG_OPTIONS: Mapping[str, str] = {"max-size": "10m", "max-file": "3"}
FORK_LABEL, SERVICE_LABEL = "dagster-apollo.fork", "dagster-apollo.service"
SECURITY_OPTIONS = ("no-new-privileges:true",)
# The stages of the Dockerfile that a Docker host runs: everything, and everything but the tenants, so that a changed
# tenant replaces the code host alone. A registry, and so Render, has the first one only.
FULL_STAGE, HOST_STAGE = "full", "host"


@dataclass(frozen=True)
class Variable:
    """One environment variable of a service.

    Attributes:
        name: the setting's name.
        source: where its value is from: written here (`text`), written here unless a person says otherwise
            (`default`), given by a person (`secret`), made by the platform (`generated`), the same as the code host's
            (`of_code_host`), or following from another service.
        text: the value, where it is written here.
    """

    name: str
    source: Source
    text: str | None = None


@dataclass(frozen=True)
class HealthCheck:
    """How a platform learns that a restart would help.

    Attributes:
        command: run inside the container; exit code 0 is well.
        interval_seconds, timeout_seconds, start_period_seconds: as Docker means them.
        retries: how many failures in a row make a container unhealthy.
    """

    command: tuple[str, ...]
    interval_seconds: int = 10
    timeout_seconds: int = 5
    start_period_seconds: int = 120
    retries: int = 3


@dataclass(frozen=True)
class Service:
    """One container.

    Attributes:
        name: the service's and the container's name, and its name in the private network.
        role: which of the image's roles it plays; None: the image is somebody else's.
        image: the image, where it is not ours.
        command: the words after the image's entry point, on a Docker host.
        port: what it listens on in the private network; None: nothing.
        public: whether strangers reach it.
        user: the user and group of its first process.
        capabilities: all that it is given; everything else is dropped.
        read_only: whether its root file system is.
        tmpfs: folders in memory.
        volumes: lasting folders: volume's name → path.
        binds: what it is given of the host: path there → path inside. Of a Docker host alone.
        variables: its environment.
        tenant_variables: whether it is also given every tenant's own variables.
        health: its liveness.
        shutdown_seconds: from SIGTERM to SIGKILL.
        plan: its size.
        depends_on: services that are healthy before it starts.
    """

    name: str
    role: Role | None
    command: tuple[str, ...]
    port: int | None
    user: str
    health: HealthCheck
    plan: Plan
    variables: tuple[Variable, ...]
    image: str | None = None
    public: bool = False
    capabilities: tuple[str, ...] = ()
    read_only: bool = True
    tmpfs: tuple[str, ...] = ("/tmp",)  # noqa: S108  the container's own
    volumes: Mapping[str, str] | None = None
    binds: Mapping[str, str] | None = None
    tenant_variables: bool = False
    shutdown_seconds: int = 30
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topology:
    """All services of a deployment, in the order in which they start.

    Attributes:
        fork: what it was made of.
        database, code, daemon, webserver: the four; on Render the database is not a service but a database.
        proxy: what ends TLS on a Docker host with a domain; None elsewhere.
    """

    fork: Fork
    database: Service
    code: Service
    daemon: Service
    webserver: Service
    proxy: Service | None

    @property
    def roles(self) -> tuple[Service, ...]:
        """The services that run our image."""
        return (self.code, self.daemon, self.webserver)

    @property
    def containers(self) -> tuple[Service, ...]:
        """Every container of a Docker host."""
        return (self.database, *self.roles, *((self.proxy,) if self.proxy else ()))


def topology(fork: Fork) -> Topology:
    """The services of a fork."""
    plans = {name: PLANS[plan] for name, plan in fork.plans.model_dump().items()}
    database = Service(
        name="dagster-postgres",
        role=None,
        image=f"postgres:{POSTGRES_MAJOR}",
        command=(),
        port=DATABASE_PORT,
        user="",  # its entry point begins as root and leaves it
        capabilities=("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"),
        read_only=False,
        tmpfs=(),
        volumes={"postgres": "/var/lib/postgresql/data"},
        variables=(
            Variable("POSTGRES_USER", "text", DATABASE_USER),
            Variable("POSTGRES_DB", "text", DATABASE_NAME),
            Variable("POSTGRES_PASSWORD", "secret"),
        ),
        health=HealthCheck(("pg_isready", "-q", "-U", DATABASE_USER, "-d", DATABASE_NAME), 5, 5, 60, 5),
        plan=plans["database"],
        shutdown_seconds=60,
    )
    code = Service(
        name="dagster-code",
        role="code",
        command=("code",),
        port=CODE_PORT,
        # Every tenant's process gets a uid of its own from this one; it does no tenant's work itself.
        user="0:0",
        capabilities=("SETGID", "SETUID"),
        volumes={"state": STATE_DIR},
        # Its first process alone may open it: for tenants whose commands run in containers of their own.
        binds={fork.docker_host.engine_socket: ENGINE_SOCKET} if fork.docker_host.engine_socket else None,
        variables=_variables("code", fork),
        tenant_variables=True,
        health=_alive("code"),
        plan=plans["code"],
        shutdown_seconds=DRAIN_SECONDS,
        depends_on=(database.name,),
    )
    starts_containers = "docker" in fork.runs.elsewhere
    daemon = Service(
        name="dagster-daemon",
        role="daemon",
        command=("daemon",),
        port=None,
        # Where it starts containers its entry point joins the group of the engine's socket, and then leaves root.
        user="0:0" if starts_containers else UNPRIVILEGED,
        capabilities=("SETGID", "SETUID") if starts_containers else (),
        binds=_of_the_host(fork) or None,
        tmpfs=("/tmp", STATE_DIR),  # noqa: S108
        variables=_variables("daemon", fork),
        health=_alive("daemon"),
        plan=plans["daemon"],
        shutdown_seconds=DRAIN_SECONDS,
        depends_on=(database.name,),
    )
    webserver = Service(
        name="dagster-webserver",
        role="webserver",
        # Render has a step of its own for the schema; here the webserver makes it, and the others wait for it.
        command=("webserver", "--migrate"),
        port=WEBSERVER_PORT,
        public=fork.domain is None,
        user=UNPRIVILEGED,
        tmpfs=("/tmp", STATE_DIR),  # noqa: S108
        variables=_variables("webserver", fork),
        health=_alive("webserver"),
        plan=plans["webserver"],
        shutdown_seconds=DRAIN_SECONDS,
        depends_on=(database.name,),
    )
    return Topology(fork, database, code, daemon, webserver, _proxy(fork, webserver) if fork.domain else None)


def _of_the_host(fork: Fork) -> dict[str, str]:
    """What the daemon is given of a Docker host, to start runs elsewhere."""
    socket, kubeconfig = fork.docker_host.engine_socket, fork.runs.kubernetes.kubeconfig
    engine = {socket: ENGINE_SOCKET} if socket and "docker" in fork.runs.elsewhere else {}
    cluster = {kubeconfig: KUBECONFIG} if kubeconfig and "kubernetes" in fork.runs.elsewhere else {}
    return {**engine, **cluster}


def tenants_group(fork: Fork) -> str:
    """The name of Render's environment group that holds every tenant's variables."""
    return f"{fork.name}-tenants"


def labels(fork: Fork, service: Service) -> dict[str, str]:
    """What a container of a Docker host is found by."""
    return {FORK_LABEL: fork.name, SERVICE_LABEL: service.name}


def read_by(process: Process) -> tuple[Setting, ...]:
    """The settings that a process reads and a tenant's prefix does not change."""
    return tuple(setting for setting in SETTINGS if process in setting.used_by)


def _proxy(fork: Fork, webserver: Service) -> Service:
    return Service(
        name="caddy",
        role=None,
        image="caddy:2",
        command=("caddy", "reverse-proxy", "--from", str(fork.domain), "--to", f"{webserver.name}:{WEBSERVER_PORT}"),
        port=443,
        public=True,
        user="",
        capabilities=("NET_BIND_SERVICE",),
        tmpfs=("/tmp", "/config"),  # noqa: S108
        volumes={"certificates": "/data"},
        variables=(),
        health=HealthCheck(("caddy", "version"), 30, 5, 30, 3),
        plan=Plan(256, 0.5),
        depends_on=(webserver.name,),
    )


def _alive(role: Role) -> HealthCheck:
    # Nothing but the standard library is imported there: Dagster's own checks take seconds of a processor each.
    return HealthCheck(("python", "-m", "dagster_apollo.host.alive", role))


# What the topology itself decides, by the setting's name.
_DECIDED: Mapping[str, Variable] = {
    variable.name: variable
    for variable in (
        Variable("DAGSTER_PG_URI", "database_url"),
        Variable("APOLLO_CODE_HOST", "address_of_code_host"),
        Variable("APOLLO_PUBLIC_URL", "public_url"),
        Variable("APOLLO_SESSION_SECRET", "generated"),
        Variable("APOLLO_ACCESS", "access_file"),
        Variable("OIDC_ISSUER", "secret"),
        Variable("OIDC_CLIENT_ID", "secret"),
        Variable("OIDC_CLIENT_SECRET", "secret"),
        # Somebody who only looks at it has no Snowflake. Render's environment group says `prod`.
        Variable("DBT_TARGET", "default", "local"),
    )
}
# What the daemon is told where runs may be executed there, and else not.
_OF_PLACES: Mapping[Elsewhere, Variable] = {
    "render_job": Variable("RENDER_API_KEY", "secret"),
    "kubernetes": Variable("KUBECONFIG", "text", KUBECONFIG),
}
_PORTS: Mapping[Process, int] = {"webserver": WEBSERVER_PORT, "code": CODE_PORT}
# What three roles share and a platform makes for one of them.
CODE_TOKEN = "APOLLO_CODE_TOKEN"  # noqa: S105  its name
# Networks of a Docker engine, and nobody else's: behind the proxy the webserver is reached from the private one alone.
_PRIVATE_NETWORKS = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
# What a role reads and no service declares, and why not.
NOT_DECLARED: Mapping[str, str] = {
    **dict.fromkeys(
        ("APOLLO_CONTAINER", "APOLLO_BIND", "APOLLO_STATE_DIR", "APOLLO_BAKED_DIR", "APOLLO_RELEASE", "DAGSTER_HOME"),
        "the image sets it",
    ),
    "APOLLO_TENANTS_DIR": "in the image they lie where they lie in the repository",
    "APOLLO_ACCESS_PATH": "no file is mounted: APOLLO_ACCESS holds the text",
    "APOLLO_IMAGE": "a platform that knows the digest adds it",
    "TENANTS": "a deployment serves every folder",
    **{variable.name: f"where the fork has runs with {place} alone" for place, variable in _OF_PLACES.items()},
    "RENDER_API_URL": "there is one Render",
}


def _variables(process: Process, fork: Fork) -> tuple[Variable, ...]:
    """What a role reads and has to be told; what tenants may differ in comes with the tenants' variables."""
    found = []
    for setting in read_by(process):
        if setting.name == "PORT":
            found.append(Variable("PORT", "text", str(_PORTS[process])))
        elif setting.name == "APOLLO_TRUSTED_PROXIES":
            found.append(Variable(setting.name, "default", _PRIVATE_NETWORKS if fork.domain else ""))
        elif setting.name == CODE_TOKEN:
            found.append(Variable(CODE_TOKEN, "generated" if process == "code" else "of_code_host"))
        elif setting.name in _DECIDED:
            found.append(_DECIDED[setting.name])
        elif setting.name not in NOT_DECLARED and not setting.per_tenant:
            found.append(Variable(setting.name, "default", str(setting.default)))
    if process == "daemon":
        found += [variable for place, variable in _OF_PLACES.items() if place in fork.runs.elsewhere]
    return tuple(found)
