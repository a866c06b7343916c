"""What environment each service of a Docker host is given, from what a person wrote into `.env` and `.env.tenants`.

Pure functions from mapping to mapping. Which variables a service has is said by the topology alone; a tenant's own
variables and what tenants share are not named there and reach the code host only.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from dagster_apollo.errors import Problem
from dagster_apollo.settings import BY_NAME
from dagster_apollo.topology import (
    CODE_PORT,
    CODE_TOKEN,
    DATABASE_NAME,
    DATABASE_PORT,
    DATABASE_USER,
    Service,
    Topology,
    Variable,
)

PASSWORD, SESSION_SECRET, ACCESS = "POSTGRES_PASSWORD", "APOLLO_SESSION_SECRET", "APOLLO_ACCESS"
# What a person may leave to `make up`, and what each is.
MADE = {
    PASSWORD: "the database's password",
    SESSION_SECRET: "what signs sessions",
    CODE_TOKEN: "what webserver and daemon show the code host",
}
OIDC = ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")
# The least length of the two that are no password, as the settings' own sentences say it.
SHORTEST_SECRET = 32
_FROM_A_PERSON = ("secret", "default", "generated", "access_file", "public_url")


def used(services: Topology, written: Mapping[str, str], of_tenants: Mapping[str, str]) -> dict[str, str]:
    """What of a person's variables goes to a Docker host at all: a key for a deploy, say, stays where it is.

    Args:
        services: the topology.
        written: variables and their texts, as `.env` has them; of these, what a service declares.
        of_tenants: as `.env.tenants` has them; of these, what no service declares.
    """
    asked_for = {
        variable.name
        for service in services.containers
        for variable in service.variables
        if variable.source in _FROM_A_PERSON
    }
    own = {name: text for name, text in written.items() if name in asked_for}
    return {**_of_tenants(services, of_tenants), **own}


def problems(services: Topology, written: Mapping[str, str]) -> list[Problem]:
    """What is missing for the services to start at all."""
    found = [
        Problem(name, "is not set", f"Set it in `.env`, or run `make up`, which makes one. It is {what}.")
        for name, what in MADE.items()
        if not written.get(name, "").strip()
    ]
    for name in (SESSION_SECRET, CODE_TOKEN):
        secret = written.get(name, "").strip()
        if secret and len(secret) < SHORTEST_SECRET:
            remedy = "Use `openssl rand -hex 32`."
            found.append(Problem(name, f"has fewer than {SHORTEST_SECRET} characters", remedy))
    given = [name for name in OIDC if written.get(name, "").strip()]
    if given and len(given) < len(OIDC):
        missing = ", ".join(name for name in OIDC if name not in given)
        found.append(Problem(" and ".join(given), f"came without {missing}", "Set all three or none."))
    if not given and not written.get(ACCESS, "").strip():
        remedy = "Run `apollo users add NAME`, which writes access.yaml, or set OIDC_ISSUER and its two companions."
        found.append(Problem(ACCESS, "nobody could log in", remedy))
    # Docker takes a variable as one text, also over several lines; what it cannot take is a NUL.
    found += [
        Problem(name, "holds a NUL character", "Write it as text.") for name, text in written.items() if "\0" in text
    ]
    return found


def environment(service: Service, services: Topology, written: Mapping[str, str], address: str) -> dict[str, str]:
    """A service's environment.

    What nobody gave is there as an empty text, which reads as unset: to Pulumi's provider a property that goes away
    altogether is often no change.

    Args:
        service: one of the topology's.
        services: the topology.
        written: what `used` gave.
        address: the webserver's, as people type it.
    """
    own = {variable.name: _text(variable, services, written, address) for variable in service.variables}
    if not service.tenant_variables:
        return own
    return {**_of_tenants(services, written), **own}


def database_url(services: Topology, password: str) -> str:
    """The address of the database in the private network; the password may hold any character."""
    place = f"{services.database.name}:{DATABASE_PORT}/{DATABASE_NAME}"
    return f"postgresql://{DATABASE_USER}:{quote(password, safe='')}@{place}"


def _of_tenants(services: Topology, written: Mapping[str, str]) -> dict[str, str]:
    """What no service declares, and no setting that tenants cannot differ in: theirs, and what they share."""
    named = {variable.name for service in services.containers for variable in service.variables}
    return {
        name: text
        for name, text in written.items()
        if name not in named and (name not in BY_NAME or BY_NAME[name].per_tenant)
    }


def _text(variable: Variable, services: Topology, written: Mapping[str, str], address: str) -> str:
    match variable.source:
        case "text":
            return variable.text or ""
        case "default":
            return written.get(variable.name) or variable.text or ""
        case "database_url":
            return database_url(services, written.get(PASSWORD, ""))
        case "address_of_code_host":
            return f"{services.code.name}:{CODE_PORT}"
        case "public_url":
            return address
        case _:
            return written.get(variable.name, "")
