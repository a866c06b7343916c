"""`render.yaml` under the schema, and past every trap that Render was seen to set.

The traps are facts about Render, https://render.com/docs/blueprint-spec and what users of it reported; each has a test
here that bears its name. What the projection as a whole gives is `test_generated_files.py`'s.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from dagster_apollo.fork import Fork, LoginRules, Plans
from dagster_apollo.projections.render_blueprint import render_blueprint
from dagster_apollo.settings import SETTINGS
from dagster_apollo.tenant import tenant_names
from dagster_apollo.topology import NOT_DECLARED, Topology, tenants_group, topology
from tests.support.checkout import REPOSITORY

SCHEMA = json.loads((REPOSITORY / "tests/data/render/render-blueprint.schema.json").read_text())
FORKS = {
    "default": Fork(),
    "whole": Fork(
        name="malt",
        image="ghcr.io/malt/data",
        registry_credential="ghcr",
        region="ohio",
        domain="data.malt.com",
        plans=Plans(webserver="1c-2g", daemon="1c-2g", code="4c-8g", database="pro-8gb"),
        login=LoginRules(),
    ),
}
# What Render itself tells the webserver, so that nobody has to.
RENDERS_OWN = {"APOLLO_TRUSTED_PROXIES", "APOLLO_PUBLIC_URL"}


@pytest.fixture(params=FORKS.values(), ids=FORKS.keys())
def fork(request: pytest.FixtureRequest) -> Fork:
    found: Fork = request.param
    return found


def parsed(fork: Fork) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(render_blueprint(fork))
    return content


def services(fork: Fork) -> dict[str, dict[str, Any]]:
    return {service["name"]: service for service in parsed(fork)["services"]}


def variables(fork: Fork, service: str) -> dict[str, dict[str, Any]]:
    return {entry["key"]: entry for entry in services(fork)[service]["envVars"] if "key" in entry}


def test_it_is_valid_under_the_schema(fork: Fork) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(parsed(fork))


def test_the_schema_is_strict_enough_to_find_a_mistake(fork: Fork) -> None:
    content = parsed(fork)
    content["services"][0]["autoDeploy_trigger"] = "off"

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(content)


def test_one_service_is_public_and_the_kinds_are_those_of_the_topology(fork: Fork) -> None:
    assert {name: service["type"] for name, service in services(fork).items()} == {
        "dagster-webserver": "web",
        "dagster-daemon": "worker",
        "dagster-code": "pserv",
    }


def test_the_header_says_that_it_is_generated_and_no_tenant_is_named(fork: Fork) -> None:
    text = render_blueprint(fork)

    assert text.startswith("# Render's Blueprint. Written by `make generated`")
    assert [name for name in tenant_names(REPOSITORY / "tenants") if name in text] == []


class TestTraps:
    """Each is something that Render takes in silence, refuses late, or reads in another way."""

    def test_off_is_quoted_since_yaml_would_read_a_boolean(self, fork: Fork) -> None:
        found = re.findall(r"(?m)^\s*-?\s*(?:autoDeployTrigger|generation): (.*)$", render_blueprint(fork))

        assert found == ["'off'"] * 4

    def test_the_version_of_postgres_is_text(self, fork: Fork) -> None:
        assert all(isinstance(database["postgresMajorVersion"], str) for database in parsed(fork)["databases"])

    def test_an_ip_allow_list_that_is_left_out_opens_the_database_to_the_internet(self, fork: Fork) -> None:
        assert [database["ipAllowList"] for database in parsed(fork)["databases"]] == [[]]

    def test_read_replicas_that_are_written_empty_destroy_those_that_exist(self, fork: Fork) -> None:
        assert all("readReplicas" not in database for database in parsed(fork)["databases"])

    def test_another_region_is_another_private_network(self, fork: Fork) -> None:
        content = parsed(fork)

        assert {each["region"] for each in [*content["services"], *content["databases"]]} == {fork.region}

    def test_a_region_that_is_left_out_is_oregon(self, fork: Fork) -> None:
        content = parsed(fork)

        assert all("region" in each for each in [*content["services"], *content["databases"]])

    def test_a_plan_that_is_left_out_is_the_smallest_for_new_ones_and_the_old_one_for_others(self, fork: Fork) -> None:
        content = parsed(fork)

        assert all("plan" in each for each in [*content["services"], *content["databases"]])

    def test_a_plan_that_render_does_not_know_skips_the_service_in_silence(self, fork: Fork) -> None:
        known = SCHEMA["$defs"]["database"]["properties"]["plan"]["enum"]

        assert {database["plan"] for database in parsed(fork)["databases"]} <= set(known)
        with pytest.raises(ValueError, match="plans"):
            Fork.model_validate({"plans": {"code": "standard-plus"}})

    def test_a_free_service_sleeps_and_receives_nothing_in_the_private_network(self, fork: Fork) -> None:
        assert "free" not in {each["plan"] for each in parsed(fork)["services"]}

    def test_a_long_shutdown_is_refused_beside_a_disk(self, fork: Fork) -> None:
        for service in services(fork).values():
            assert service["maxShutdownDelaySeconds"] == 300
            assert "disk" not in service

    def test_a_prompt_for_a_secret_is_not_valid_in_a_group(self, fork: Fork) -> None:
        groups = parsed(fork)["envVarGroups"]

        assert all(set(entry) <= {"key", "value", "generateValue"} for group in groups for entry in group["envVars"])

    def test_a_value_is_text_and_never_a_boolean(self, fork: Fork) -> None:
        content = parsed(fork)
        entries = [entry for service in content["services"] for entry in service["envVars"]]
        entries += [entry for group in content["envVarGroups"] for entry in group["envVars"]]

        assert all(isinstance(entry["value"], str) and entry["value"] for entry in entries if "value" in entry)

    def test_a_service_has_another_host_name_than_its_own(self, fork: Fork) -> None:
        for name in ("dagster-webserver", "dagster-daemon"):
            entry = variables(fork, name)["APOLLO_CODE_HOST"]
            assert entry["fromService"] == {"type": "pserv", "name": "dagster-code", "property": "hostport"}

    def test_a_worker_has_no_host_name_and_is_asked_for_none(self, fork: Fork) -> None:
        workers = {name for name, service in services(fork).items() if service["type"] == "worker"}
        asked = {
            entry["fromService"]["name"]
            for service in services(fork).values()
            for entry in service["envVars"]
            if "fromService" in entry
        }

        assert asked & workers == set()

    def test_port_10000_cannot_be_used_in_the_private_network(self, fork: Fork) -> None:
        assert variables(fork, "dagster-code")["PORT"]["value"] == "4000"

    def test_a_health_check_path_does_nothing_but_on_a_web_service(self, fork: Fork) -> None:
        assert {name for name, service in services(fork).items() if "healthCheckPath" in service} == {
            "dagster-webserver"
        }

    def test_a_schema_that_two_migrate_at_once_is_migrated_by_one(self, fork: Fork) -> None:
        assert {
            name: service["preDeployCommand"]
            for name, service in services(fork).items()
            if "preDeployCommand" in service
        } == {"dagster-webserver": "apollo migrate"}

    def test_build_settings_have_no_place_beside_an_image(self, fork: Fork) -> None:
        refused = {"buildCommand", "startCommand", "dockerfilePath", "dockerContext", "repo", "branch", "rootDir"}
        for service in services(fork).values():
            assert service["runtime"] == "image"
            assert refused & set(service) == set()

    def test_a_command_works_with_the_images_entry_point_and_without(self, fork: Fork) -> None:
        assert {name: service["dockerCommand"] for name, service in services(fork).items()} == {
            "dagster-webserver": "apollo webserver",
            "dagster-daemon": "apollo daemon",
            "dagster-code": "apollo code",
        }

    def test_scaling_would_make_two_of_what_there_may_be_one_of(self, fork: Fork) -> None:
        for service in services(fork).values():
            assert service["numInstances"] == 1
            assert "scaling" not in service

    def test_a_private_image_is_pulled_with_a_credential_by_name(self) -> None:
        creds = [service["image"].get("creds") for service in services(FORKS["whole"]).values()]

        assert creds == [{"fromRegistryCreds": {"name": "ghcr"}}] * 3
        assert all("creds" not in service["image"] for service in services(FORKS["default"]).values())

    def test_a_generated_value_is_one_that_is_kept_and_not_a_format_that_others_read(self, fork: Fork) -> None:
        generated = {
            entry["key"]
            for service in services(fork).values()
            for entry in service["envVars"]
            if "generateValue" in entry
        }

        assert generated == {"APOLLO_SESSION_SECRET", "APOLLO_CODE_TOKEN"}

    def test_a_preview_would_have_a_database_without_data_and_no_secrets(self, fork: Fork) -> None:
        assert parsed(fork)["previews"] == {"generation": "off"}

    def test_a_resource_is_defined_in_one_place(self, fork: Fork) -> None:
        content = parsed(fork)
        names = [each["name"] for kind in ("services", "databases", "envVarGroups") for each in content[kind]]

        assert len(set(names)) == len(names)
        assert set(content) == {"previews", "databases", "envVarGroups", "services"}


def declared(fork: Fork, service: str) -> set[str]:
    return set(variables(fork, service))


def test_every_variable_that_a_service_reads_is_declared_and_none_that_it_does_not(fork: Fork) -> None:
    stack: Topology = topology(fork)
    in_the_group = {entry["key"] for group in parsed(fork)["envVarGroups"] for entry in group["envVars"]}
    for service in stack.roles:
        read = {setting.name for setting in SETTINGS if service.role in setting.used_by}
        tenants = {setting.name for setting in SETTINGS if setting.per_tenant} if service.tenant_variables else set()
        missing = read - declared(fork, service.name) - tenants - set(NOT_DECLARED)

        assert declared(fork, service.name) <= read, service.name
        # Render tells the webserver its own address and nobody else: without a domain the code host's messages name
        # a run by its id instead of a link.
        unknown = {"webserver": RENDERS_OWN, "code": {"APOLLO_PUBLIC_URL"}}.get(str(service.role), set())
        assert missing <= unknown, service.name
        assert ("fromGroup" in str(services(fork)[service.name]["envVars"])) is service.tenant_variables
    assert in_the_group <= {setting.name for setting in SETTINGS if "code" in setting.used_by}


def test_the_address_is_declared_where_render_cannot_know_it() -> None:
    assert variables(FORKS["whole"], "dagster-webserver")["APOLLO_PUBLIC_URL"]["value"] == "https://data.malt.com"
    assert "APOLLO_PUBLIC_URL" not in variables(FORKS["default"], "dagster-webserver")
    assert services(FORKS["whole"])["dagster-webserver"]["domains"] == ["data.malt.com"]


def test_secrets_are_asked_for_or_made_by_render_and_never_written(fork: Fork) -> None:
    secret = {setting.name for setting in SETTINGS if setting.secret}
    entries = [entry for service in services(fork).values() for entry in service["envVars"] if "key" in entry]

    written = {entry["key"] for entry in entries if "value" in entry}
    assert written & secret == set()
    assert {entry["key"] for entry in entries if entry.get("sync") is False} == {
        "APOLLO_ACCESS", "OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET",
    }  # fmt: skip


def test_the_group_has_the_name_that_apollo_secrets_pushes_to(fork: Fork) -> None:
    assert [group["name"] for group in parsed(fork)["envVarGroups"]] == [tenants_group(fork)]
