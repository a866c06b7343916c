"""A deploy in the middle of five runs: the work of all five is done, by whoever was there to do it, and nothing twice.

The deploy is `apollo deploy`'s, on the container engine by the fake Render, old and new side by side. One run is let
through while the old code host waits for its runs, the other four are held up until it has ended. The tests are steps
of one story, in this order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.code_host.directory import DEFAULT_PORT, fetch
from dagster_apollo.errors import HostError
from tests.support.attempts import attempts, last_attempt
from tests.support.container_engine import ContainerEngine
from tests.support.fake_render.command import Apollo, apollo_command
from tests.support.fake_render.deployment import API_KEY, CODE, DAEMON, QUICK, WEB, Deployment, deployed
from tests.support.fake_render.engine import Copy
from tests.support.gated_warehouse import MODELS, GatedWarehouse, expected_rows, write_gated_tenant
from tests.support.registry import Registry
from tests.support.webserver import FINAL, Webserver, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Which model each tenant's run is held up in when the deploy comes.
HELD_UP = {"north": "published", "east": "landed", "south": "cleaned", "west": "joined", "middle": "summed"}
# Is let through in time, and comes to its end on the old code host.
IN_TIME = "north"
# Is launched while the old code host waits for its runs.
LATE = "late"
# Within it, and half of what follows, the new code host has made itself ready.
OVERLAP_SECONDS = 30.0
# Half of it is waited for runs to end by themselves, the other half for those that are told to.
DRAIN_SECONDS = 50
# Nothing is baked: what these tenants connect to is known at run time alone, so they are parsed at a start anyway.
_TENANTS = """\
USER 0:0
RUN rm -rf /app/tenants /opt/apollo/baked /opt/apollo/baked-snapshots
COPY tenants /app/tenants
ENV DBT_TARGET=prod
"""
# The second one's last model is another file, so that everything that is kept by its content is made anew.
_CHANGE = "RUN for file in /app/tenants/*/models/published.sql; do echo '-- changed' >>$file; done\n"
DERIVED = {"first": _TENANTS, "second": _TENANTS + _CHANGE}


@dataclass
class Story:
    """The deployment, what its tenants build in, and the runs that were launched.

    Attributes:
        runs: the first run of each tenant.
    """

    deployment: Deployment
    warehouses: Mapping[str, GatedWarehouse]
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def webserver(self) -> Webserver:
        return self.deployment.stack.webserver

    def code_hosts(self) -> tuple[Copy, Copy]:
        """The old one and the new one."""
        old, new = self.deployment.backend.copies_of(CODE)
        return old, new

    def launch(self, tenant: str) -> str:
        self.runs[tenant] = self.webserver.launch(tenant, f"{tenant}__build")
        return self.runs[tenant]

    def stored(self) -> list[tuple[str, str, float]]:
        """Every success of a model that Dagster has stored: tenant, model, when."""
        told = self.deployment.postgres.rows(
            "select asset_key, extract(epoch from timestamp at time zone 'utc') from event_logs "
            "where dagster_event_type = 'ASSET_MATERIALIZATION'"
        )
        keys = [(str(key).strip("[]").replace('"', "").split(", "), float(at)) for key, at in told]
        return [(tenant, model, at) for (tenant, model), at in keys]


@pytest.fixture(scope="module")
def story(container_engine: ContainerEngine, registry: Registry, module_folder: Path) -> Iterator[Story]:
    for tenant in (*HELD_UP, LATE):
        write_gated_tenant(module_folder / "tenants", tenant)
    with deployed(container_engine, registry, module_folder, DERIVED, overlap_seconds=OVERLAP_SECONDS) as deployment:
        warehouses = {name: GatedWarehouse.create(deployment.postgres, name) for name in (*HELD_UP, LATE)}
        deployment.give_tenants(
            {f"{name.upper()}__POSTGRES_URL": deployment.url_of(it.database) for name, it in warehouses.items()}
        )
        code = deployment.world.service(CODE)
        code.variables["APOLLO_DRAIN_SECONDS"] = str(DRAIN_SECONDS)
        code.variables["APOLLO_MAX_RUNS"] = "10"
        yield Story(deployment, warehouses)


@pytest.fixture
def apollo(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    story: Story,
) -> Iterator[Apollo]:
    deployment = story.deployment
    planted = [API_KEY, deployment.stack.credentials.token, deployment.postgres.password]
    with apollo_command(monkeypatch, capsys, caplog, deployment.root, deployment.settings, planted) as command:
        yield command


def drains(code_host: Copy) -> bool:
    try:
        return fetch(code_host.address, DEFAULT_PORT).draining
    except HostError:
        return False


def test_five_runs_are_in_flight_at_once(story: Story) -> None:
    story.deployment.bring_up("first")
    story.deployment.stack.wait_until_it_serves(*HELD_UP, LATE)
    for tenant, model in HELD_UP.items():
        story.warehouses[tenant].hold_up(model)
        story.launch(tenant)

    def all_wait() -> bool:
        return all(HELD_UP[name] in {note.model for note in story.warehouses[name].begun()} for name in HELD_UP)

    wait_until(all_wait, "every run is in the model that is held up", 120)
    assert {story.webserver.run(run_id)["status"] for run_id in story.runs.values()} == {"STARTED"}


def test_a_deploy_replaces_the_code_host_and_a_run_ends_on_the_old_one_while_another_begins_on_the_new(
    story: Story, apollo: Apollo
) -> None:
    def while_it_drains() -> tuple[str, bool]:
        [old] = story.deployment.backend.copies_of(CODE)[:1]
        wait_until(lambda: drains(old), "the old code host was told to end", 300)
        story.warehouses[IN_TIME].let_all_through()
        late = story.launch(LATE)
        wait_until(lambda: story.webserver.run(late)["status"] in {"STARTED", *FINAL}, "the late run has begun", 120)
        return story.webserver.run(late)["status"], old.ended is None

    with ThreadPoolExecutor(1) as beside:
        seen = beside.submit(while_it_drains)
        said = apollo("deploy", "--image", story.deployment.images["second"], *QUICK)
        late_status, old_was_there = seen.result()
    story.deployment.backend.wait()

    assert said.code == 0, said.all
    assert story.deployment.running() == dict.fromkeys((WEB, DAEMON, CODE), "second")
    assert late_status in ("STARTED", "SUCCESS")
    assert old_was_there, "a run that was launched meanwhile had to wait until the old code host had ended"
    old, new = story.code_hosts()
    assert f"{len(HELD_UP)} in flight" in old.log
    assert old.exit_code == 0, old.log[-3000:]
    assert old.ended is not None
    assert old.ended - new.started > OVERLAP_SECONDS, "both ran for a while"
    in_time = story.webserver.run(story.runs[IN_TIME])
    assert in_time["status"] == "SUCCESS", story.webserver.failure(story.runs[IN_TIME])
    for tenant in HELD_UP.keys() - {IN_TIME}:
        told = story.webserver.run(story.runs[tenant])
        assert told["status"] == "FAILURE"
        assert told["tags"]["apollo/interrupted"] == "told to end"


def test_everything_comes_to_a_good_end_and_nothing_is_built_twice(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    for warehouse in story.warehouses.values():
        warehouse.let_all_through()
    last = {tenant: last_attempt(story.webserver, run_id) for tenant, run_id in story.runs.items()}
    with capsys.disabled():
        _show(story, last)

    assert {run["status"] for run in last.values()} == {"SUCCESS"}
    assert {run["status"] for run in story.webserver.runs()} <= FINAL
    assert Counter((tenant, model) for tenant, model, _ in story.stored()) == {
        (tenant, model): 1 for tenant in story.runs for model in MODELS
    }
    for tenant, model, stored_at in story.stored():
        notes = [*story.warehouses[tenant].begun(), *story.warehouses[tenant].written()]
        again = [note for note in notes if note.model == model and note.at > stored_at]
        assert again == [], f"{tenant}: {model} was built again though its success was stored"
    for tenant, run_id in story.runs.items():
        count = len(attempts(story.webserver, run_id))
        assert count == (1 if tenant in (IN_TIME, LATE) else 2), tenant
        begun = Counter(note.model for note in story.warehouses[tenant].begun())
        assert max(begun.values()) <= count, f"{tenant}: {begun}"


def test_the_rows_are_those_of_an_undisturbed_run(story: Story) -> None:
    found = {tenant: warehouse.rows() for tenant, warehouse in story.warehouses.items()}

    assert found == dict.fromkeys(story.runs, expected_rows())


def test_both_code_hosts_have_built_and_none_what_the_other_had(story: Story) -> None:
    old, new = story.code_hosts()
    built = {tenant: _built(warehouse, old, new) for tenant, warehouse in story.warehouses.items()}

    assert built[IN_TIME] == (list(MODELS), [])
    assert built[LATE] == ([], list(MODELS))
    for tenant in HELD_UP.keys() - {IN_TIME}:
        before = list(MODELS[: MODELS.index(HELD_UP[tenant])])
        assert built[tenant] == (before, list(MODELS[len(before) :])), tenant


def _built(warehouse: GatedWarehouse, old: Copy, new: Copy) -> tuple[list[str], list[str]]:
    """The models that were written by one code host and by the other, in their order."""
    written = warehouse.written()
    first, second = ([note.model for note in written if note.host == copy.address] for copy in (old, new))
    return first, second


def _show(story: Story, last: Mapping[str, dict[str, Any]]) -> None:
    lines = [("run of", "its end on the old code host", "taken up by", "built on the old", "built on the new")]
    for tenant, run_id in story.runs.items():
        first = story.webserver.run(run_id)
        told = first["tags"].get("apollo/interrupted")
        by = last[tenant]["runId"]
        old, new = (" ".join(models) for models in _built(story.warehouses[tenant], *story.code_hosts()))
        end = "was never there" if tenant == LATE else first["status"] + (f", {told}" if told else "")
        lines.append((f"{tenant} {run_id[:8]}", end, "" if by == run_id else by[:8], old, new))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    print("\n" + "\n".join(table))  # noqa: T201  the table is what this test is for
