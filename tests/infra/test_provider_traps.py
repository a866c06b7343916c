"""How Pulumi's Docker provider was seen to mislead, each trap by its name: what the program declares avoids it.

A test that fails here means that an `up` would replace, or silently not change, what somebody relies on.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from infra.docker_host import go_duration
from tests.support.pulumi_program import (
    CONTAINER,
    IMAGE,
    NETWORK,
    PROGRAM,
    PROVIDER,
    VARIABLES,
    Declared,
    Program,
    declared,
)

GO_DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+(\.\d+)?s)|\d+ms")


@pytest.fixture(params=["", 'domain = "data.example.com"\n'], ids=["without-domain", "with-domain"])
def program(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return declared(tmp_path, monkeypatch, request.param)


@pytest.fixture
def containers(program: Program) -> list[Declared]:
    return list(program.containers.values())


class TestASecondPreviewIsEmpty:
    def test_cpus_without_a_decimal_replace_the_container_every_time(self, containers: list[Declared]) -> None:
        assert [each.inputs["cpus"] for each in containers if "." not in each.inputs["cpus"]] == []
        assert [each.inputs["cpus"] for each in containers if re.search(r"\.\d+0$", each.inputs["cpus"])] == []

    def test_memory_without_memory_swap_is_updated_every_time(self, containers: list[Declared]) -> None:
        assert all(each.inputs["memory"] == each.inputs["memorySwap"] > 0 for each in containers)

    def test_a_health_checks_duration_in_another_form_than_gos_drifts(self, containers: list[Declared]) -> None:
        for each in containers:
            health = each.inputs["healthcheck"]
            for key in ("interval", "timeout", "startPeriod"):
                assert GO_DURATION.fullmatch(health[key]), (each.name, key)
                assert not re.match(r"(6\d|[7-9]\d|\d{3,})s", health[key]), f"{health[key]} is not how Go writes it"

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0s"), (0.5, "500ms"), (1.5, "1.5s"), (5, "5s"), (59, "59s"), (60, "1m0s"), (90, "1m30s"),
            (300, "5m0s"), (3600, "1h0m0s"), (3661.5, "1h1m1.5s"),
        ],
    )  # fmt: skip
    def test_seconds_are_written_as_go_writes_them(self, seconds: float, text: str) -> None:
        assert go_duration(seconds) == text

    def test_a_capability_without_cap_replaces_the_container_after_a_refresh(self, containers: list[Declared]) -> None:
        added = [name for each in containers for name in each.inputs["capabilities"].get("adds", [])]

        assert added
        assert [name for name in added if not name.startswith("CAP_")] == []
        assert all(each.inputs["capabilities"]["drops"] == ["ALL"] for each in containers)

    def test_a_platform_replaces_the_container_every_time(self, program: Program) -> None:
        assert [each.name for each in program.resources.values() if "platform" in each.inputs] == []

    def test_one_internal_port_twice_drifts(self, containers: list[Declared]) -> None:
        for each in containers:
            inside = [port["internal"] for port in each.inputs.get("ports", [])]
            assert len(inside) == len(set(inside)), each.name


class TestAChangeIsNotLost:
    def test_what_is_said_to_be_updated_and_is_not_makes_the_container_anew(self, containers: list[Declared]) -> None:
        silently = {"healthcheck", "tmpfs", "init", "cpuPeriod", "cpuQuota"}

        assert [each.name for each in containers if set(each.options["replaceOnChanges"]) != silently] == []

    def test_a_new_container_of_a_name_that_is_taken_waits_for_the_old_one_to_go(
        self, containers: list[Declared]
    ) -> None:
        assert [each.name for each in containers if not each.options["deleteBeforeReplace"]] == []

    def test_a_property_that_goes_away_whole_is_no_change_so_variables_become_empty_instead(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fewer = {name: text for name, text in VARIABLES.items() if not name.startswith("OIDC_")}
        webserver = declared(tmp_path, monkeypatch, variables=fewer).containers["dagster-webserver"]

        assert {"OIDC_ISSUER=", "OIDC_CLIENT_ID=", "OIDC_CLIENT_SECRET="} <= set(webserver.inputs["envs"])

    def test_a_container_removed_by_hand_is_noticed_only_with_a_refresh(self) -> None:
        file = yaml.safe_load((PROGRAM / "Pulumi.yaml").read_text())

        assert file["options"] == {"refresh": "always"}


class TestNothingIsKilledOrLost:
    def test_without_a_grace_a_container_is_killed_20_ms_after_sigterm(self, containers: list[Declared]) -> None:
        assert all(each.inputs["destroyGraceSeconds"] >= 30 for each in containers)
        assert [each.name for each in containers if "stopTimeout" in each.inputs] == []  # the provider ignores it

    def test_a_volumes_changed_label_destroys_its_data(self, program: Program) -> None:
        for volume in program.volumes.values():
            assert volume.options["protect"], volume.name
            assert volume.options["retainOnDelete"], volume.name
            assert set(volume.options["ignoreChanges"]) == {"labels", "driverOpts"}
            assert set(volume.inputs) == {"name"}

    def test_nothing_else_is_protected_so_that_destroy_can_leave_the_data_out(self, program: Program) -> None:
        protected = [each.name for each in program.resources.values() if each.options["protect"]]

        assert sorted(protected) == sorted(program.volumes)

    def test_a_read_only_root_and_uploads_exclude_each_other(self, containers: list[Declared]) -> None:
        assert any(each.inputs["readOnly"] for each in containers)
        assert [each.name for each in containers if "uploads" in each.inputs] == []

    def test_a_changed_network_makes_every_container_anew_so_it_has_nothing_that_changes(
        self, program: Program
    ) -> None:
        [network] = program.of(NETWORK).values()

        assert set(network.inputs) == {"name", "driver"}


class TestImages:
    def test_an_image_missing_from_a_container_is_noticed_after_the_old_one_is_gone(self, program: Program) -> None:
        images = {f"id of {image.inputs['name']}": image.name for image in program.of(IMAGE).values()}

        for container in program.containers.values():
            assert container.inputs["image"] in images
            assert images[container.inputs["image"]] in container.options["dependencies"]

    def test_an_image_not_kept_is_removed_at_destroy(self, program: Program) -> None:
        assert all(image.inputs["keepLocally"] is True for image in program.of(IMAGE).values())

    def test_a_moved_tag_goes_unseen_so_our_own_images_have_digests(self, program: Program) -> None:
        ours = [image.inputs["name"] for image in program.of(IMAGE).values() if "dagster" in image.inputs["name"]]

        assert len(ours) == 2
        assert all(re.search(r"@sha256:[0-9a-f]{64}$", name) for name in ours)


class TestOrderAndHealth:
    def test_waiting_needs_a_health_check(self, containers: list[Declared]) -> None:
        assert all(each.inputs["wait"] is True and each.inputs["healthcheck"]["tests"] for each in containers)

    def test_a_minute_is_not_long_enough_for_a_first_start(self, containers: list[Declared]) -> None:
        assert all(each.inputs["waitTimeout"] > 60 for each in containers)

    def test_depends_on_orders_and_never_cascades(self, program: Program) -> None:
        order = {
            name: set(each.options["dependencies"]) & set(program.containers)
            for name, each in program.containers.items()
        }

        assert order.pop("dagster-postgres") == set()
        assert order.pop("caddy", {"dagster-webserver"}) == {"dagster-webserver"}
        assert all(before == {"dagster-postgres"} for before in order.values())

    def test_docker_kill_counts_as_a_stop_by_hand_so_must_run_brings_it_back(self, containers: list[Declared]) -> None:
        assert all(each.inputs["mustRun"] is True for each in containers)
        assert all(each.inputs["restart"] == "unless-stopped" for each in containers)


class TestSecrets:
    def test_one_clear_variable_list_would_be_readable_in_the_state(self, containers: list[Declared]) -> None:
        assert [each.name for each in containers if each.inputs.get("envs") and "envs" not in each.secret] == []

    def test_no_value_of_a_person_is_anywhere_but_in_what_is_encrypted(self, program: Program) -> None:
        canaries = [line for text in VARIABLES.values() for line in text.splitlines() if "canary" in line]
        clear = {
            f"{each.name}.{key}": str(value)
            for each in program.resources.values()
            for key, value in each.inputs.items()
            if key not in each.secret
        }
        clear["outputs"] = str(program.outputs)

        assert len(canaries) == len(VARIABLES)
        assert [place for place, text in clear.items() if any(canary in text for canary in canaries)] == []


class TestEngine:
    def test_every_resource_is_on_the_one_engine(self, program: Program) -> None:
        without = [each.name for each in program.resources.values() if each.options["provider"] != "engine"]

        assert without == ["engine"]
        assert program.resources["engine"].type == PROVIDER

    def test_another_host_is_reached_by_ssh(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = declared(
            tmp_path, monkeypatch, dockerHost="ssh://deploy@host.example.com:2222", sshOptions=["-i", "/keys/deploy"]
        )

        engine = program.resources["engine"].inputs
        assert engine["host"] == "ssh://deploy@host.example.com:2222"
        assert engine["sshOpts"] in (["-i", "/keys/deploy"], '["-i", "/keys/deploy"]')

    def test_a_container_has_what_one_should_have(self, containers: list[Declared]) -> None:
        wanted = {
            "name", "image", "envs", "networksAdvanced", "healthcheck", "wait", "restart", "mustRun",
            "destroyGraceSeconds", "readOnly", "capabilities", "securityOpts", "memory", "memorySwap", "cpus",
            "logDriver", "logOpts", "labels",
        }  # fmt: skip
        for each in containers:
            missing = wanted - set(each.inputs)
            assert missing <= {"envs"}, each.name
            assert each.type == CONTAINER
            assert each.inputs["securityOpts"] == ["no-new-privileges:true"]
            assert set(each.inputs["logOpts"]) == {"max-size", "max-file"}
