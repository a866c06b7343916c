"""What stands in for the services that tenants need is started, as children of `apollo dev`.

`start` returns the settings that lead there. What each service is stands in a module of its own; which is taken where,
in `choice.py`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from dagster_apollo.errors import ProblemsError
from stand_ins import object_store, postgres
from stand_ins.answering import LOOPBACK, READY, READY_PATH, Child, free_port, status_of, wait_until
from stand_ins.choice import SETTINGS, SIMULATION, chosen, keep_simulated_objects, real_object_store
from stand_ins.kept import Secrets, write_variables

VARIABLES_FILE = "env"
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Need:
    """What one tenant lacks.

    Attributes:
        tenant: its id.
        prefix: of its variables, `BIOREACTOR__`.
        services: some of `postgres`, `s3`, `dynamodb`, `dbt_cloud`.
        buckets: the buckets that its `tenant.yaml` names.
        environ: the variables that its process is given.
        host: the address by which its containers reach this machine; None: it runs in none.
    """

    tenant: str
    prefix: str
    services: Collection[str]
    buckets: Collection[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    host: str | None = None


class Group(Protocol):
    """What starts processes and stops them."""

    def start(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        *,
        needed: bool = ...,
        stop_signal: signal.Signals = ...,
    ) -> Child:
        """Start one; where it is not needed, the others go on without it."""


@dataclass
class StandIns:
    """Those that are started for one `apollo dev`."""

    folder: Path
    group: Group
    say: Callable[[str], None]
    environ: Mapping[str, str]
    secrets: Secrets

    def postgres(self, needs: Sequence[Need]) -> dict[str, str]:
        """One server, with a database a tenant."""
        told = chosen("postgres", self.folder, self.environ)
        server = postgres.Server(free_port(), self.secrets["postgres"])
        hosts = ",".join(dict.fromkeys((LOOPBACK, _host_of(needs))))
        command = [sys.executable, "-m", "stand_ins.postgres", str(self.folder / "postgres"), hosts, str(server.port)]
        # By SIGTERM it would wait for its clients to go.
        password = {postgres.PASSWORD_VARIABLE: server.password}
        child = self._start("stand-in-postgres", command, password, stop_signal=signal.SIGINT)
        wait_until(server.answers, child, "Postgres")
        variables = {}
        for need in needs:
            own = self.secrets[f"postgres of {need.tenant}"]
            variables[f"{need.prefix}POSTGRES_URL"] = server.give_database(need.tenant, own, need.host or LOOPBACK)
            self._tell(need, "postgres", told)
        return variables

    def amazon(self, needs: Sequence[Need]) -> dict[str, str]:
        """S3 by a real server where one is found; what is left by a simulation, in one process."""
        store = [need for need in needs if "s3" in need.services]
        tables = [need for need in needs if "dynamodb" in need.services]
        real = real_object_store(self.folder, self.environ) if store else None
        variables = self._real_store(real, self.folder / "object_store", store) if real else {}
        simulated = [*([] if real else store), *tables]
        if simulated:
            told = {service: chosen(service, self.folder, self.environ) for service in ("s3", "dynamodb")}
            host = _host_of(simulated)
            port = free_port(host)
            endpoint = f"http://{host}:{port}"
            command = [sys.executable, "-m", "stand_ins.amazon", str(self.folder / SIMULATION), host, str(port)]
            child = self._start("stand-in-amazon", command, {})
            wait_until(partial(_is_ready, endpoint), child, "moto")
            if store and not real:
                keep_simulated_objects(self.folder)
            for need in [] if real else store:
                variables |= self._store_of(need, endpoint, told["s3"])
            for need in tables:
                variables |= {f"{need.prefix}AWS_ENDPOINT_URL_DYNAMODB": endpoint, **self._keys_of(need)}
                self._tell(need, "dynamodb", told["dynamodb"])
        return variables

    def dbt_cloud(self, needs: Sequence[Need]) -> dict[str, str]:
        """A process a tenant, which really runs its project."""
        variables = {}
        for need in needs:
            port = free_port()
            endpoint, token = f"http://{LOOPBACK}:{port}", self.secrets[f"dbt Cloud of {need.tenant}"]
            place = self.folder / "dbt_cloud" / need.tenant
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            command = [sys.executable, "-m", "stand_ins.dbt_cloud", "--tenant", need.tenant]
            command += ["--port", str(port), "--folder", str(place)]
            own = {**need.environ, "STAND_IN_TOKEN": token}
            child = self._start(f"stand-in-dbt-cloud-{need.tenant}", command, own)
            wait_until(partial(_is_ready, endpoint), child, "dbt Cloud's stand-in")
            variables[f"{need.prefix}DBT_CLOUD_TOKEN"] = token
            variables[f"{need.prefix}DBT_CLOUD_ACCESS_URL"] = endpoint
            self._tell(need, "dbt_cloud", chosen("dbt_cloud", self.folder, self.environ))
        return variables

    def _real_store(self, program: str, place: Path, needs: Sequence[Need]) -> dict[str, str]:
        place.mkdir(mode=0o700, exist_ok=True)
        host = _host_of(needs)
        port = free_port(host)
        endpoint, root = f"http://{host}:{port}", object_store.Keys("apollo", self.secrets["object store"])
        command = object_store.command(program, place, host, port)
        child = self._start("stand-in-object-store", command, object_store.environment(root))
        wait_until(lambda: status_of(f"{endpoint}/") is not None, child, "versitygw")
        variables: dict[str, str] = {}
        for need in needs:
            object_store.add_account(endpoint, root, self._key_pair(need))
            variables |= self._store_of(need, endpoint, chosen("s3", self.folder, self.environ))
        return variables

    def _store_of(self, need: Need, endpoint: str, told: str) -> dict[str, str]:
        object_store.make_buckets(endpoint, self._key_pair(need), need.buckets)
        self._tell(need, "s3", told)
        return {f"{need.prefix}AWS_ENDPOINT_URL_S3": endpoint, **self._keys_of(need)}

    def _keys_of(self, need: Need) -> dict[str, str]:
        if need.environ.get("AWS_ACCESS_KEY_ID"):  # those of the other service, which is a person's own
            return {}
        keys = self._key_pair(need)
        named = {"ACCESS_KEY_ID": keys.key_id, "SECRET_ACCESS_KEY": keys.secret, "REGION": object_store.REGION}
        return {f"{need.prefix}AWS_{name}": value for name, value in named.items()}

    def _key_pair(self, need: Need) -> object_store.Keys:
        return object_store.Keys(need.tenant, self.secrets[f"object store of {need.tenant}"])

    def _tell(self, need: Need, service: str, told: str) -> None:
        self.say(f"{need.tenant}: {SETTINGS[service]} is not set: {told} stands in")

    def _start(
        self,
        name: str,
        command: Sequence[str],
        own: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Child:
        shared = {name: self.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in self.environ}
        return self.group.start(name, command, {**shared, **own}, REPOSITORY, needed=False, stop_signal=stop_signal)


def start(
    needs: Sequence[Need], folder: Path, group: Group, say: Callable[[str], None], environ: Mapping[str, str]
) -> dict[str, str]:
    """Start what stands in for what tenants lack; what cannot be started is said, and the others go on.

    Args:
        needs: what each tenant lacks.
        folder: what the stand-ins keep.
        group: starts their processes.
        say: prints one line.
        environ: where programs are looked for: PATH, HOME, XDG_CACHE_HOME.

    Returns:
        The settings that lead to them, with the tenants' prefixes. They are also in the folder's `env` file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # root's Postgres is another user's, who has to pass; what is in it is closed
    stand_ins = StandIns(folder, group, say, environ, Secrets(folder / "secrets.json"))
    variables: dict[str, str] = {}
    starts: dict[tuple[str, ...], Callable[[Sequence[Need]], dict[str, str]]] = {
        ("postgres",): stand_ins.postgres,
        ("s3", "dynamodb"): stand_ins.amazon,
        ("dbt_cloud",): stand_ins.dbt_cloud,
    }
    for services, begin in starts.items():
        lacking = [need for need in needs if set(services) & set(need.services)]
        if not lacking:
            continue
        try:
            variables |= begin(lacking)
        except (ProblemsError, OSError) as error:
            told = "\n".join(f"    {problem}" for problem in getattr(error, "problems", [error]))
            say(f"{', '.join(need.tenant for need in lacking)}: nothing stands in for {' and '.join(services)}\n{told}")
    write_variables(folder / VARIABLES_FILE, variables)
    return variables


def _host_of(needs: Sequence[Need]) -> str:
    """Where a server listens that they all reach: this machine reaches itself by either address."""
    return next((need.host for need in needs if need.host), LOOPBACK)


def _is_ready(endpoint: str) -> bool:
    return status_of(f"{endpoint}{READY_PATH}") == READY
