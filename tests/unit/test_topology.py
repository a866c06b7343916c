"""Each service once: what it reads is declared, what it does not read is not, and its rights are as small as can be."""

from __future__ import annotations

import dataclasses

import pytest

from dagster_apollo.fork import Fork, Plans
from dagster_apollo.plans import PLANS
from dagster_apollo.settings import SETTINGS
from dagster_apollo.topology import NOT_DECLARED, Service, labels, read_by, topology

SERVICES = topology(Fork(domain="data.malt.com"))
ROLES = {service.role: service for service in SERVICES.roles}


@pytest.mark.parametrize("role", ["webserver", "daemon", "code"])
def test_a_role_is_told_what_it_reads_and_nothing_else(role: str) -> None:
    declared = {variable.name for variable in ROLES[role].variables}  # type: ignore[index]
    read = {setting.name for setting in read_by(role)}  # type: ignore[arg-type]
    with_the_tenants = {setting.name for setting in SETTINGS if setting.per_tenant} if role == "code" else set()

    assert declared - read == set()
    assert read - declared - with_the_tenants - set(NOT_DECLARED) == set(), "declare it, or say in NOT_DECLARED why not"


def test_what_is_not_declared_is_read_by_somebody() -> None:
    assert set(NOT_DECLARED) - {setting.name for setting in SETTINGS} == set()


def test_no_variable_has_its_value_by_accident() -> None:
    texts = {
        variable.name: variable.text
        for service in SERVICES.containers
        for variable in service.variables
        if variable.source in ("text", "default")
    }

    assert [name for name, text in texts.items() if text in (None, "None", "True", "False")] == []


def test_secrets_are_never_written_here() -> None:
    secret = {setting.name for setting in SETTINGS if setting.secret} | {"POSTGRES_PASSWORD"}
    written = {
        variable.name
        for service in SERVICES.containers
        for variable in service.variables
        if variable.text is not None or variable.source in ("text", "default")
    }

    assert written & secret == set()


def test_only_the_code_host_is_given_tenants_variables() -> None:
    assert [service.name for service in SERVICES.containers if service.tenant_variables] == ["dagster-code"]


def test_only_the_code_host_begins_as_root_and_with_two_rights() -> None:
    assert ROLES["code"].user == "0:0"
    assert ROLES["code"].capabilities == ("SETGID", "SETUID")
    for role in ("webserver", "daemon"):
        assert ROLES[role].user == "10001:10001"  # type: ignore[index]
        assert ROLES[role].capabilities == ()  # type: ignore[index]


def test_one_service_is_public() -> None:
    def public(fork: Fork) -> list[str]:
        return [service.name for service in topology(fork).containers if service.public]

    assert public(Fork()) == ["dagster-webserver"]
    assert public(Fork(domain="data.malt.com")) == ["caddy"]


def test_services_start_after_what_they_depend_on() -> None:
    seen: list[str] = []
    for service in SERVICES.containers:
        assert set(service.depends_on) <= set(seen), service.name
        seen.append(service.name)


def test_every_service_can_be_found_by_its_labels() -> None:
    found = [tuple(sorted(labels(SERVICES.fork, service).items())) for service in SERVICES.containers]

    assert len(set(found)) == len(found)


@pytest.mark.parametrize("kind", list(Plans.model_fields))
def test_every_plan_that_a_fork_can_name_has_a_size(kind: str) -> None:
    names = Plans.model_json_schema()["properties"][kind]["enum"]

    assert [name for name in names if name not in PLANS] == []


def test_a_service_is_a_plain_value() -> None:
    assert topology(Fork()) == topology(Fork())
    assert dataclasses.fields(Service)
