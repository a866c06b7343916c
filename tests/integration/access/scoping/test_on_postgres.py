"""The same over Postgres, whose storages are other classes: nothing is told, nothing is changed, live updates go on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.access.scoping.reviewed import MUTATIONS_OF_THE_STACK
from tests.support.postgres import Postgres
from tests.support.scoped_mutations import mutations_of, send
from tests.support.scoped_past import give_a_past
from tests.support.scoped_walk import leaked, walk, words_of
from tests.support.scoped_world import ALPACA, ZEBRA, World, locations, new_instance, serving

# graphql-core forgets what it had begun when another field fails where null is not allowed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def deployed(postgres: Postgres) -> Iterator[World]:
    """A world on Postgres."""
    home = Path(tempfile.mkdtemp(prefix="apollo-scoped-postgres-"))
    with new_instance(home, postgres.url()) as instance, serving(instance, locations()) as served:
        give_a_past(served)
        yield served
    shutil.rmtree(home, ignore_errors=True)


def test_no_query_tells_a_word_of_a_hidden_tenant(deployed: World) -> None:
    answers = walk(deployed, ZEBRA, ["confined-operator"], depth=2, most=300)

    told = {answer.field: words for answer in answers if (words := leaked(deployed, answer.texts[0], answer.question))}
    assert told == {}


def test_of_his_own_tenant_a_confined_user_is_told(deployed: World) -> None:
    asked = "{ runsOrError { ... on Runs { count results { runId tags { key value } } } } runTagKeysOrError {"
    asked += (
        " ... on RunTagKeys { keys } } assetNodes { assetKey { path } assetMaterializations { label description } } }"
    )

    answer = deployed.http("confined-viewer", "POST", "/graphql", json={"query": asked})

    assert answer.json()["data"]["runsOrError"]["count"] == 2
    assert {"alpaca_run_tag", "alpaca_run_value", "alpaca_reported"} <= words_of(ALPACA, answer.text)
    assert leaked(deployed, answer.text) == set()


def test_what_is_hidden_is_not_changed(deployed: World) -> None:
    hidden = deployed.past[ZEBRA]
    mutation = f"""mutation {{
        deleteRun(runId: "{hidden.runs["nightly"]}") {{ __typename }}
        cancelPartitionBackfill(backfillId: "{hidden.backfills["assets"]}") {{ __typename }}
        wipeAssets(assetPartitionRanges: [{{assetKey: {{path: ["zebra", "claimed"]}}}}]) {{ __typename }} }}"""

    answer = deployed.http("confined-operator", "POST", "/graphql", json={"query": mutation})

    assert leaked(deployed, answer.text, mutation) == set()
    assert "Success" not in answer.text
    assert deployed.instance.has_run(hidden.runs["nightly"])
    assert [event["outcome"] == "ok" for event in deployed.audited[-3:]] == [False] * 3


# Three more ways to say `launchRun`, each of which costs a run.
LAUNCHES = {"launchMultipleRuns", "launchPipelineExecution", "launchPipelineReexecution"}
# What Dagster permits for all locations or for none (who may do it to his own could do it to others'), and what it
# permits in Dagster+ alone.
OF_ALL = {"freeConcurrencySlots", "freeConcurrencySlotsForRun", "setAppManagedComponent", "deleteAppManagedComponent"}
# What was permitted and cannot be done: stopping a run that has ended, repeating a backfill that has not, refreshing a
# component that is not there, shutting down a code server of the webserver's own.
IMPOSSIBLE = {"terminatePipelineExecution", "terminateRun", "terminateRuns", "reexecutePartitionBackfill"} | {
    "refreshComponentState",
    "shutdownRepositoryLocation",
}


def test_an_operator_may_do_to_his_own_tenant_all_that_concerns_nobody_else(deployed: World) -> None:
    past = deployed.past[ALPACA]
    tried = [(name, arguments) for name, arguments in mutations_of(past) if name not in LAUNCHES]
    del deployed.audited[:]

    for name, arguments in tried:
        send(deployed, "confined-operator", past, name, arguments)

    refused = {event["name"] for event in deployed.audited if event["outcome"] == "refused"}
    done = {event["name"] for event in deployed.audited if event["outcome"] == "ok"}
    assert refused == MUTATIONS_OF_THE_STACK | OF_ALL
    assert {name for name, _ in tried} - refused - done == IMPOSSIBLE
    assert deployed.instance.has_run(deployed.past[ZEBRA].runs["nightly"])
