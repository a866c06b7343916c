"""The five tenants through the image and the code host: by Compose on a real engine, each beside what it needs.

Postgres for bioreactor is a container like any; S3 and the DynamoDB API are servers of this machine, which containers
reach at the bridge's address; the stand-in for dbt Cloud runs beside the code host as the user of its tenant, since it
builds in the DuckDB file that dlt loads; riksdag's dbt runs in containers that the code host starts for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_apollo.code_host.walls import assign
from dagster_apollo.host.first_build import build_what_was_never_built
from dagster_apollo.locations import all_locations, tenant_of
from dagster_apollo.new_fork import Answers, write_fork
from dagster_apollo.tenant import tenant_names
from tests.support.compose import ComposeHost, compose_host
from tests.support.container_engine import ContainerEngine
from tests.support.key_value import KeyValueStore, running_key_value_store
from tests.support.object_store import Account, running_object_store
from tests.support.stack import REPOSITORY
from tests.support.webserver import FINAL, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PROJECT = "apollo-test-five"
MARTS_PASSWORD, CLOUD_TOKEN = "of-the-marts-4711", "of-dbt-cloud-4711"
IMAGES = {"riksdag": "test.invalid/apollo/five-riksdag:1", "makerates": "test.invalid/apollo/five-makerates:1"}
NETWORK = "apollo-test-five-makerates"
RUN_TIMEOUT_SECONDS = 1200.0
BUCKETS = ("bronze", "silver", "gold")
COUNT = "kaizen_wars/fact_virtual_count_asset"
CSV, NEW_ROW = "/var/lib/apollo/tenants/kaizen_wars/bouts.csv", "9001,2026-06-01T08:00:00Z,Kita,seiri,won,30"
COMMITTED = (REPOSITORY / "tenants/kaizen_wars/data/fact_virtual.csv").read_text()
# kaizen_wars' schedule, which cron cannot have run more often, and a CSV that a test may write to.
FOLLOWING = f"""\
KAIZEN_WARS__FACT_VIRTUAL_CSV={CSV}
KAIZEN_WARS__FACT_VIRTUAL_CRON=* * * * *
KAIZEN_WARS__FACT_VIRTUAL_RUNNING_IN=local
KAIZEN_WARS__APOLLO_AUTOMATION_SECONDS=1
"""


@dataclass(frozen=True)
class Five:
    """All of it, running.

    Attributes:
        host: the services.
        account: makerates' at the S3 server.
        tables: the DynamoDB API.
        ended: how the last run of each location went that built what was never built.
        said: what was said of it.
    """

    host: ComposeHost
    account: Account
    tables: KeyValueStore
    ended: Mapping[str, str]
    said: list[str]

    def in_code_host(self, tenant: str, words: str) -> None:
        """A shell's words as a tenant's user in the code host's container."""
        user = user_of(tenant, tenant_names(self.host.clone / "tenants"))
        container = self.host.containers()["dagster-code"]["Id"]
        self.host.engine.docker("exec", "--user", f"{user}:{user}", container, "sh", "-c", words)


def user_of(tenant: str, tenants: list[str]) -> int:
    """The user that the code host gives a tenant."""
    cells = assign(tenants, Path("/"), as_root=True)
    return next(cell.user for cell in cells if cell.name == tenant) or 0


def services(user: int) -> str:
    """Compose's override: what tenants need, as services of the private network."""
    return yaml.safe_dump(
        {
            "services": {
                "marts": {
                    "image": "postgres:17",
                    "environment": {"POSTGRES_USER": "marts", "POSTGRES_PASSWORD": MARTS_PASSWORD},
                    "healthcheck": {"test": ["CMD", "pg_isready", "-q", "-U", "marts"], "interval": "2s"},
                    "networks": ["private"],
                },
                "dbt-cloud": {
                    "image": f"test.invalid/apollo/{PROJECT}:local",
                    "user": f"{user}:{user}",
                    "entrypoint": ["python", "-m", "stand_ins.dbt_cloud"],
                    "command": [
                        *("--tenant", "kaizen_wars", "--host", "0.0.0.0", "--port", "8580"),
                        *("--folder", "/var/lib/apollo/tenants/kaizen_wars/dbt_cloud"),
                    ],
                    "environment": {
                        "STAND_IN_TOKEN": CLOUD_TOKEN,
                        "APOLLO_STATE_DIR": "/var/lib/apollo/tenants/kaizen_wars",
                        "DBT_TARGET": "local",
                    },
                    "volumes": ["state:/var/lib/apollo", "./stand_ins:/app/stand_ins:ro"],
                    "depends_on": {"dagster-code": {"condition": "service_healthy"}},
                    "networks": ["private"],
                    "restart": "unless-stopped",
                },
            }
        }
    )


def variables_of_tenants(account: Account, tables: KeyValueStore) -> Mapping[str, str]:
    """`.env.tenants`."""
    of_makerates = {**tables.settings(), **account.settings()}
    return {
        "BIOREACTOR__POSTGRES_URL": f"postgresql://marts:{MARTS_PASSWORD}@marts:5432/marts",
        "KAIZEN_WARS__DBT_CLOUD_TOKEN": CLOUD_TOKEN,
        "KAIZEN_WARS__DBT_CLOUD_ACCESS_URL": "http://dbt-cloud:8580",
        **{f"MAKERATES__{name}": text for name, text in of_makerates.items()},
    }


@pytest.fixture(scope="module")
def five(container_engine: ContainerEngine, module_folder: Path) -> Iterator[Five]:
    bridge = container_engine.docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    with (
        running_object_store(host=bridge) as objects,
        running_key_value_store(host=bridge) as tables,
        compose_host(container_engine, module_folder, PROJECT, overrides={"services.yaml": ""}) as host,
    ):
        account = objects.account()
        for bucket in BUCKETS:
            account.make_bucket(bucket)
        tenants = tenant_names(host.clone / "tenants")
        (host.clone / "services.yaml").write_text(services(user_of("kaizen_wars", tenants)))
        lines = [f"{name}={text}" for name, text in variables_of_tenants(account, tables).items()]
        (host.clone / ".env.tenants").write_text("\n".join(lines) + "\n")
        with_engine(host)
        make_images(host)
        try:
            host.up("--build")
            locations = all_locations(host.clone / "tenants", tenants)
            host.stack.wait_until_it_serves(*locations)
            said: list[str] = []
            address, token = host.stack.address, host.stack.credentials.token
            ended: dict[str, str] = {}
            for tenant in tenants:  # one after the other: together they would need a larger machine
                own = [location for location in locations if tenant_of(location) == tenant]
                ended |= build_what_was_never_built(address, own, said.append, lambda: None, token)
            yield Five(host, account, tables, ended, said)
        finally:
            host.run("image", "rm", "--force", *IMAGES.values())
            host.run("network", "rm", NETWORK)


def with_engine(host: ComposeHost) -> None:
    """Have the fork give its code host the engine, and room for five tenants."""
    socket = host.engine.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    file = host.clone / "apollo.toml"
    file.write_text(f'{file.read_text()}\n[docker_host]\nengine_socket = "{socket}"\n')
    write_fork(host.clone, Answers({}, {"code": "2c-4g"}))


def make_images(host: ComposeHost) -> None:
    """The tenants' own images, by the command that a person types, under names that nobody else has."""
    for tenant, image in IMAGES.items():
        file = host.clone / "tenants" / tenant / "tenant.yaml"
        content = yaml.safe_load(file.read_text())
        content["container"]["image"] = image
        if content["container"].get("network"):
            content["container"]["network"] = NETWORK
        file.write_text(yaml.safe_dump(content))
    subprocess.run(
        ["scripts/make_images.sh", *IMAGES],
        cwd=host.clone,
        env={**os.environ, **host.engine.environ, "PYTHON": sys.executable, "PYTHONPATH": str(host.clone)},
        check=True,
        timeout=1800,
    )


# The tests below are steps of one story, in this order.


def test_every_tenant_is_built_whole(five: Five) -> None:
    told = "\n".join([*five.said, five.host.logs()])
    assert set(five.ended.values()) == {"SUCCESS"}, told
    for tenant in tenant_names(five.host.clone / "tenants"):
        assets: dict[str, dict[str, Any]] = {}
        for location in all_locations(five.host.clone / "tenants", [tenant]):
            assets |= five.host.stack.webserver.assets(location)
        built = {key for key, node in assets.items() if node["assetMaterializations"]}
        assert built == {key for key, node in assets.items() if node["isMaterializable"]} != set(), tenant


def test_each_is_where_it_belongs(five: Five) -> None:
    tables = five.host.compose("exec", "marts", "psql", "-U", "marts", "-At", "-c",
                               "select count(*) from pg_tables where schemaname !~ '^(pg_|information)'")  # fmt: skip
    assert int(tables) > 0
    assert all(five.account.objects(bucket) for bucket in BUCKETS)
    assert five.tables.items("makerates_rates")


def test_riksdag_ran_in_containers_and_none_is_left(five: Five) -> None:
    said = five.host.engine.docker("logs", five.host.containers()["dagster-code"]["Id"])

    assert f"riksdag: a container of {IMAGES['riksdag']}" in said
    assert five.host.engine.docker("ps", "--all", "--quiet", "--filter", f"ancestor={IMAGES['riksdag']}") == ""


def test_no_tenants_process_can_open_the_engine_nor_anothers_channel(five: Five) -> None:
    container = five.host.containers()["dagster-code"]["Id"]
    tenants = tenant_names(five.host.clone / "tenants")
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"

    def connects(tenant: str, path: str) -> bool:
        user = user_of(tenant, tenants)
        words = ["exec", "--user", f"{user}:{user}", container, "python", "-c", program, path]
        return five.host.run(*words).returncode == 0

    assert not connects("riksdag", "/var/run/docker.sock")
    assert not connects("bioreactor", "/var/lib/apollo/containers/riksdag.sock")
    assert connects("riksdag", "/var/lib/apollo/containers/riksdag.sock")


def test_makerates_runs_in_its_image_by_one_line_with_the_same_results(five: Five) -> None:
    rates = sorted(map(repr, five.tables.items("makerates_rates")))
    five.in_code_host("kaizen_wars", f"cp tenants/kaizen_wars/data/fact_virtual.csv {CSV}")
    variables = five.host.clone / ".env.tenants"
    variables.write_text(f"{variables.read_text()}MAKERATES__APOLLO_EXECUTION=docker\n{FOLLOWING}")
    five.host.up()
    five.host.stack.wait_until_it_serves("makerates")
    webserver = five.host.stack.webserver
    wanted = sorted(key for key, node in webserver.assets("makerates").items() if node["isMaterializable"])

    run_id = webserver.materialize("makerates", wanted)
    wait_until(lambda: webserver.run(run_id)["status"] in FINAL, "the run ends", RUN_TIMEOUT_SECONDS)
    webserver.finish(run_id)

    assert sorted(webserver.built(run_id)) == wanted
    assert sorted(map(repr, five.tables.items("makerates_rates"))) == rates
    said = five.host.engine.docker("logs", five.host.containers()["dagster-code"]["Id"])
    assert said.count(f"makerates: a container of {IMAGES['makerates']}") >= 3


def test_a_run_that_is_cancelled_takes_its_container_along(five: Five) -> None:
    webserver, engine = five.host.stack.webserver, five.host.engine
    keys = sorted(key for key, node in webserver.assets("riksdag").items() if node["isMaterializable"])
    run_id = webserver.materialize("riksdag", keys)
    running = ("ps", "--quiet", "--filter", f"ancestor={IMAGES['riksdag']}")
    left = ("ps", "--all", *running[1:])
    wait_until(lambda: engine.docker(*running), "its container runs", RUN_TIMEOUT_SECONDS)
    webserver.ask("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)

    wait_until(lambda: webserver.run(run_id)["status"] in FINAL, "the run ends", RUN_TIMEOUT_SECONDS)
    assert webserver.run(run_id)["status"] == "CANCELED"
    wait_until(lambda: not engine.docker(*left), "it is gone", 60)


def test_a_new_row_comes_through_dbt_cloud_to_the_count_with_nobody_touching_anything(five: Five) -> None:
    """The schedule runs every minute since the code host was replaced, beside all that the tests above did."""
    webserver = five.host.stack.webserver

    def counted() -> int | None:
        [latest] = webserver.assets("kaizen_wars")[COUNT]["assetMaterializations"]
        return {entry["label"]: entry.get("intValue") for entry in latest["metadataEntries"]}["dagster/row_count"]

    before = counted()
    assert before == len(COMMITTED.splitlines()) - 1
    five.in_code_host("kaizen_wars", f"echo {NEW_ROW} >>{CSV}")

    wait_until(lambda: counted() == before + 1, "the new row is counted", RUN_TIMEOUT_SECONDS)
