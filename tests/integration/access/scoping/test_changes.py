"""Who may change what: every mutation of the schema, by everybody who may not, and by those who may."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from dagster import AssetKey
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG
from graphql import is_required_argument

from dagster_apollo.access.scoping.scoped_runs import BACKFILL_TAG, RUN_LINE_TAGS
from tests.support.graphql_walk import SCHEMA
from tests.support.scoped_mutations import mutations_of, send, state_of
from tests.support.scoped_past import launch
from tests.support.scoped_walk import leaked
from tests.support.scoped_world import ALPACA, ZEBRA, World, selector


def test_every_mutation_of_the_schema_is_tried(world: World) -> None:
    tried = mutations_of(world.past[ZEBRA])

    assert {name for name, _ in tried} == set(SCHEMA.mutation_type.fields)  # type: ignore[union-attr]
    for name, arguments in tried:
        asked = SCHEMA.mutation_type.fields[name].args  # type: ignore[union-attr]
        required = {argument for argument, declared in asked.items() if is_required_argument(declared)}
        assert required <= set(arguments) <= set(asked), name


# graphql-core forgets what it had begun when another field fails where null is not allowed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ON_THEIRS = [
    ("viewer", ZEBRA, "orders"),
    ("confined-viewer", ALPACA, "orders"),
    ("operator-of-alpaca", ZEBRA, "orders"),
    ("confined-operator", ZEBRA, "orders"),
    # What alpaca's own graph holds of zebra does not make it alpaca's.
    ("operator-of-alpaca", ZEBRA, "depended_on"),
    ("confined-operator", ZEBRA, "depended_on"),
    ("confined-operator", ZEBRA, "claimed"),
    ("confined-administrator", ZEBRA, "orders"),
    ("confined-to-nothing", ALPACA, "orders"),
]


@pytest.mark.parametrize(("user", "tenant", "asset"), ON_THEIRS, ids=[" ".join(case) for case in ON_THEIRS])
def test_a_mutation_of_what_is_not_theirs_is_refused_and_changes_nothing(
    world: World, user: str, tenant: str, asset: str
) -> None:
    before = state_of(world.instance)
    past = world.past[tenant]
    told = {}
    del world.audited[:]

    for name, arguments in mutations_of(past, asset):
        question, answer = send(world, user, past, name, arguments)
        if "confined" in user and (words := leaked(world, answer, question)):
            told[name] = words

    assert state_of(world.instance) == before
    assert told == {}
    assert [event["name"] for event in world.audited] == [name for name, _ in mutations_of(past, asset)]
    # What is hidden may also be answered as what is not there, which Dagster calls an error; a viewer is told no.
    expected = {"refused"} if "viewer" in user else {"refused", "failed"}
    assert [event for event in world.audited if event["outcome"] not in expected] == []


def test_several_mutations_in_one_request_are_each_refused_and_told_to_the_audit(world: World) -> None:
    before = state_of(world.instance)
    del world.audited[:]
    runs = list(world.past[ZEBRA].runs.values())

    question = " ".join(f'm{n}: deleteRun(runId: "{run}") {{ __typename }}' for n, run in enumerate(runs))
    answer = world.http("operator-of-alpaca", "POST", "/graphql", json={"query": f"mutation {{ {question} }}"})

    assert answer.json()["data"] == {f"m{n}": {"__typename": "UnauthorizedError"} for n in range(len(runs))}
    assert state_of(world.instance) == before
    assert [(event["name"], event["outcome"], event["tenants"]) for event in world.audited] == [
        ("deleteRun", "refused", [ZEBRA])
    ] * len(runs)


def add_and_take_away_a_partition(world: World, user: str) -> None:
    variables = {"s": selector(ALPACA), "d": "alpaca_dynamic", "k": f"alpaca_of_{user}"}
    given = "$s: RepositorySelector!, $d: String!"
    added = world.ask(
        user,
        f"mutation({given}, $k: String!) {{ addDynamicPartition(repositorySelector: $s, partitionsDefName: $d,"
        " partitionKey: $k) { __typename } }",
        **variables,
    )
    assert added["data"]["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"
    assert world.instance.has_dynamic_partition("alpaca_dynamic", variables["k"])
    deleted = world.ask(
        user,
        f"mutation({given}, $k: [String!]!) {{ deleteDynamicPartitions(repositorySelector: $s, partitionsDefName: $d,"
        " partitionKeys: $k) { __typename } }",
        **{**variables, "k": [variables["k"]]},
    )
    assert deleted["data"]["deleteDynamicPartitions"]["__typename"] == "DeleteDynamicPartitionsSuccess"


def move_a_cursor(world: World, user: str) -> None:
    answer = world.ask(
        user,
        "mutation($s: SensorSelector!, $c: String) { setSensorCursor(sensorSelector: $s, cursor: $c) { __typename } }",
        s=selector(ALPACA, sensorName="watcher"),
        c="alpaca_cursor",
    )
    assert answer["data"]["setSensorCursor"]["__typename"] == "Sensor"


def report_and_wipe_an_asset(world: World, user: str) -> None:
    key = {"path": [ALPACA, "dynas"]}
    reported = world.ask(
        user,
        "mutation($e: ReportRunlessAssetEventsParams!) { reportRunlessAssetEvents(eventParams: $e) { __typename } }",
        e={"eventType": "ASSET_MATERIALIZATION", "assetKey": key, "partitionKeys": ["alpaca_partition"]},
    )
    assert reported["data"]["reportRunlessAssetEvents"]["__typename"] == "ReportRunlessAssetEventsSuccess"
    wiped = world.ask(
        user,
        "mutation($r: [PartitionsByAssetSelector!]!) { wipeAssets(assetPartitionRanges: $r) { __typename } }",
        r=[{"assetKey": key}],
    )
    assert wiped["data"]["wipeAssets"]["__typename"] == "AssetWipeSuccess"
    assert not world.instance.has_asset_key(AssetKey([ALPACA, "dynas"]))


@pytest.mark.parametrize("user", ["confined-operator", "operator-of-alpaca", "operator-of-all", "administrator"])
@pytest.mark.parametrize("change", [add_and_take_away_a_partition, move_a_cursor, report_and_wipe_an_asset])
def test_operators_change_what_is_theirs(world: World, change: Callable[[World, str], None], user: str) -> None:
    change(world, user)

    assert world.audited[-1]["user"].name == user
    assert (world.audited[-1]["outcome"], world.audited[-1]["tenants"]) == ("ok", [ALPACA])


def test_an_operator_launches_a_run_and_deletes_it_and_the_audit_says_which(world: World) -> None:
    user = "confined-operator"
    config = {"ops": {"step": {"config": {"word": "said"}}}}
    answer = launch(world, user, {"selector": selector(ALPACA, jobName="nightly"), "runConfigData": config})
    run_id = answer["run"]["runId"]
    assert (world.audited[-1]["user"].name, world.audited[-1]["runs"]) == (user, [run_id])
    policy = "terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY"
    stop = f"mutation($r: String!) {{ terminateRun(runId: $r, {policy}) {{ __typename }} }}"
    world.ask(user, stop, r=run_id)
    deleted = world.ask(user, "mutation($r: String!) { deleteRun(runId: $r) { __typename } }", r=run_id)
    assert deleted["data"]["deleteRun"]["__typename"] == "DeletePipelineRunSuccess"


TRICKS: dict[str, dict[str, Any]] = {
    "tagged as another tenant's": {"tags": {".dagster/repository": "__repository__@zebra"}},
    "of an asset of another tenant's among its own": {"assets": [[ALPACA, "orders"], [ZEBRA, "orders"]]},
    "of an asset that it only depends on": {"assets": [[ZEBRA, "depended_on"]]},
    "of an asset that it only declares": {"assets": [[ZEBRA, "claimed"]]},
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
@pytest.mark.parametrize("user", ["confined-operator", "operator-of-alpaca"])
def test_a_run_is_not_launched_that_is(world: World, user: str, trick: dict[str, Any]) -> None:
    before = world.instance.get_runs_count()
    chosen = selector(ALPACA, jobName="nightly")
    if assets := trick.get("assets"):
        chosen = selector(ALPACA, jobName="__ASSET_JOB", assetSelection=[{"path": path} for path in assets])

    answer = launch(world, user, {"selector": chosen}, trick.get("tags"))

    assert "run" not in answer, answer
    assert world.instance.get_runs_count() == before


def test_a_run_does_not_continue_one_that_is_hidden(world: World) -> None:
    before = world.instance.get_runs_count()
    hidden = world.past[ZEBRA].runs["nightly"]

    params = {"selector": selector(ALPACA, jobName="nightly")}
    answer = launch(world, "confined-operator", params, parentRunId=hidden, rootRunId=hidden)

    assert "run" not in answer, answer
    assert world.instance.get_runs_count() == before


@pytest.mark.parametrize("tag", ["dagster/parent_run_id", "dagster/root_run_id", "dagster/backfill"])
@pytest.mark.parametrize("user", ["confined-operator", "operator-of-alpaca"])
def test_a_run_does_not_name_itself_part_of_what_is_not_theirs_by_a_tag(world: World, user: str, tag: str) -> None:
    before = world.instance.get_runs_count()
    theirs = world.past[ZEBRA]
    named = theirs.backfills["assets"] if tag == BACKFILL_TAG else theirs.runs["nightly"]

    answer = launch(world, user, {"selector": selector(ALPACA, jobName="nightly")}, {tag: named})

    assert "run" not in answer, answer
    assert world.instance.get_runs_count() == before


@pytest.mark.parametrize("field", ["parentRunId", "rootRunId"])
def test_a_run_does_not_continue_one_that_is_seen_and_not_operated(world: World, field: str) -> None:
    before = world.instance.get_runs_count()
    own, theirs = world.past[ALPACA].runs["nightly"], world.past[ZEBRA].runs["nightly"]
    line = {"parentRunId": own, "rootRunId": own, field: theirs}

    answer = launch(world, "operator-of-alpaca", {"selector": selector(ALPACA, jobName="nightly")}, **line)

    assert "run" not in answer, answer
    assert world.instance.get_runs_count() == before


@pytest.mark.parametrize("user", ["confined-operator", "operator-of-alpaca", "operator-of-all", "administrator"])
def test_an_operator_executes_a_run_of_theirs_again(world: World, user: str) -> None:
    parent = world.past[ALPACA].runs["assets"]
    question = """mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
        __typename ... on LaunchRunSuccess { run { runId parentRunId } } ... on Error { message } } }"""

    answer = world.ask(user, question, p={"parentRunId": parent, "strategy": "ALL_STEPS"})

    run = answer["data"]["launchRunReexecution"]["run"]
    assert run["parentRunId"] == parent
    remove(world, run["runId"])


def test_a_run_of_theirs_in_a_backfill_that_others_have_a_part_in_is_executed_again(world: World) -> None:
    backfill = world.past[ZEBRA].backfills["assets"]
    params = {"selector": selector(ALPACA, jobName="nightly"), "runConfigData": CONFIGURED}
    first = launch(world, "administrator", params, {BACKFILL_TAG: backfill})["run"]["runId"]

    again = launch(world, "operator-of-alpaca", params, {BACKFILL_TAG: backfill}, parentRunId=first, rootRunId=first)

    assert "run" in again, again
    for run_id in (again["run"]["runId"], first):
        remove(world, run_id)


def test_the_tags_that_place_a_run_are_named_as_dagster_names_them() -> None:
    assert RUN_LINE_TAGS == (PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG)
    assert BACKFILL_TAG == BACKFILL_ID_TAG


CONFIGURED = {"ops": {"step": {"config": {"word": "said"}}}}


def remove(world: World, run_id: str) -> None:
    """Leave the world as it was."""
    policy = "terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY"
    stop = f"mutation($r: String!) {{ terminateRun(runId: $r, {policy}) {{ __typename }} }}"
    world.ask("administrator", stop, r=run_id)
    world.ask("administrator", "mutation($r: String!) { deleteRun(runId: $r) { __typename } }", r=run_id)


def test_the_audit_never_holds_what_a_run_was_configured_with(world: World) -> None:
    del world.audited[:]

    params = {"selector": selector(ZEBRA, jobName="nightly"), "runConfigData": {"ops": {"step": "t0p-secret"}}}
    launch(world, "viewer", params, {"key": "t0p-secret"})

    assert [(event["name"], event["outcome"]) for event in world.audited] == [("launchRun", "refused")]
    assert "t0p-secret" not in json.dumps(world.audited, default=repr)
