"""A user who is confined to a tenant is told nothing of another, and of his own all that there is."""

from __future__ import annotations

import json
from pprint import pformat
from typing import Any

import pytest

from tests.support.graphql_walk import SCHEMA, Names
from tests.support.scoped_walk import differences, leaked, walk, words_of
from tests.support.scoped_world import ALPACA, ZEBRA, World

# graphql-core forgets what it had begun when another field fails where null is not allowed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
# Positions in time and in the log: they name nobody.
NAME_NOBODY = {"afterCursor", "afterTimestamp", "beforeTimestamp", "cursor"}
# Counts and lists of all that there is, in which the administrator's holds the other tenant too, and permissions.
OF_ALL = {
    ".runsOrError.Runs_count",
    ".pipelineRunsOrError.Runs_count",
    ".runsFeedCountOrError.RunsFeedCount_count",
    ".runIdsOrError.RunIds_results",
    ".permissions.Permission_disabledReason",
    ".permissions.Permission_value",
    ".canBulkTerminate",
}


def test_every_field_is_asked_with_every_argument_that_can_name_a_tenant(world: World) -> None:
    names = Names(world.past[ZEBRA])

    left_out = {
        name: set(names.leaves_out(name, field)) - NAME_NOBODY for name, field in SCHEMA.query_type.fields.items()
    }

    assert {name: arguments for name, arguments in left_out.items() if arguments} == {}, (
        "name something of the tenant's"
    )


@pytest.mark.parametrize("user", ["confined-operator"])
def test_no_query_tells_a_word_of_a_hidden_tenant(world: World, user: str) -> None:
    answers = walk(world, ZEBRA, [user], depth=3, most=1200)

    told = {answer.field: words for answer in answers if (words := leaked(world, answer.texts[0], answer.question))}
    assert told == {}
    assert {answer.field for answer in answers} == set(SCHEMA.query_type.fields), "each was asked"


def test_of_his_own_tenant_a_confined_user_is_told_what_an_administrator_is_told(world: World) -> None:
    answers = walk(world, ALPACA, ["administrator", "confined-operator"], depth=2, most=300)

    missing, different, telling = {}, {}, set()
    for answer in answers:
        everything, own = answer.texts
        assert leaked(world, own) == set(), answer.question
        if words := words_of(ALPACA, own):
            telling.add(answer.field)
        if lost := words_of(ALPACA, everything) - words:
            missing[answer.field] = lost
        if ZEBRA not in everything and (paths := set(differences(*answer.data)) - OF_ALL):
            different[answer.field] = (paths, answer.question, own, answer.errors)
    assert missing == {}
    assert different == {}, pformat(different)
    assert len(telling) >= 45, "the same walk finds the words of a tenant that is not hidden"


def test_whoever_is_confined_to_nothing_is_told_of_nobody(world: World) -> None:
    asked = (
        "{ workspaceOrError { ... on Workspace { locationEntries { name } } } assetsOrError { ... on AssetConnection {"
    )
    asked += " nodes { key { path } } } } runsOrError { ... on Runs { count results { runId } } } runTagKeysOrError {"
    asked += (
        " ... on RunTagKeys { keys } } partitionBackfillsOrError { ... on PartitionBackfills { results { id } } } }"
    )

    answer = json.dumps(world.ask("confined-to-nothing", asked))

    assert leaked(world, answer) == set()
    assert words_of(ALPACA, answer) == set()
    assert '"count": 0' in answer


def test_a_confined_administrator_is_no_more_than_an_operator_of_his_tenants(world: World) -> None:
    answer = json.dumps(
        world.ask("confined-administrator", "{ instance { info } runsOrError { ... on Runs { count } } }")
    )

    assert '"info": null' in answer
    assert '"count": 2' in answer


ORACLES: dict[str, tuple[str, str]] = {
    "a run": ("query($x: ID!) { runOrError(runId: $x) { __typename ... on Error { message } } }", "run"),
    "a run's logs": ("query($x: ID!) { logsForRun(runId: $x) { __typename ... on Error { message } } }", "run"),
    "a run's group": ("query($x: ID!) { runGroupOrError(runId: $x) { __typename ... on Error { message } } }", "run"),
    "a run to stop": (
        "mutation($x: String!) { terminateRun(runId: $x) { __typename ... on Error { message } } }",
        "run",
    ),
    "a run's output": ('query($x: String!) { capturedLogs(logKey: [$x, "compute_logs", "x"]) { stdout } }', "run"),
    "a backfill": (
        "query($x: String!) { partitionBackfillOrError(backfillId: $x) { __typename ... on Error { message } } }",
        "backfill",
    ),
    "a job's snapshot": (
        "query($x: String!) { pipelineSnapshotOrError(snapshotId: $x) { __typename ... on Error { message } } }",
        "snapshot",
    ),
    "an asset": (
        'query($x: String!) { assetOrError(assetKey: {path: ["zebra", $x]}) { __typename ... on Error { message } } }',
        "asset",
    ),
    "a location": ("query($x: String!) { workspaceLocationEntryOrError(name: $x) { __typename } }", "tenant"),
    "a location to reload": (
        "mutation($x: String!) { reloadRepositoryLocation(repositoryLocationName: $x) { __typename } }",
        "tenant",
    ),
    "a pool": (
        "query($x: String!) { instance { concurrencyLimit(concurrencyKey: $x) { limit slotCount } } }",
        "pool",
    ),
}


@pytest.mark.parametrize(("question", "kind"), ORACLES.values(), ids=ORACLES.keys())
def test_what_is_hidden_is_answered_as_what_is_not_there(world: World, question: str, kind: str) -> None:
    past = world.past[ZEBRA]
    there, nowhere = {
        "run": (past.runs["assets"], "00000000-0000-4000-8000-000000000000"),
        "backfill": (past.backfills["job"], "zzzzzzzz"),
        "snapshot": (past.snapshots["nightly"], "0" * 40),
        "asset": ("orders", "nothing"),
        "tenant": (ZEBRA, "nobody"),
        "pool": ("zebra_unused_pool", "no_pool"),
    }[kind]

    def answer(named: str) -> Any:
        return json.dumps(world.ask("confined-operator", question, x=named)).replace(named, "IT")

    assert answer(there) == answer(nowhere)
