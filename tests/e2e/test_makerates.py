"""makerates, whole: a real S3 server, the DynamoDB API, and one line between child processes and containers."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.support.container_engine import ContainerEngine
from tests.support.rates_pipeline import (
    EVENTS,
    EVERYTHING,
    MODELS,
    NETWORK,
    RATES,
    REPOSITORY,
    RatesPipeline,
    gateway_of_network,
    make_images,
    rates_pipeline,
    rows_of,
)
from tests.support.tenant_folders import evaluated, failures, materialized


@pytest.fixture
def pipeline(folder: Path) -> Iterator[RatesPipeline]:
    with rates_pipeline(folder) as made:
        yield made


@pytest.fixture(scope="module")
def built(module_folder: Path) -> Iterator[tuple[RatesPipeline, dg.ExecuteInProcessResult]]:
    """The whole, materialized once; a test that uses it leaves tables and buckets as they are."""
    with rates_pipeline(module_folder / "native") as made:
        yield made, made.run()


Built = tuple[RatesPipeline, dg.ExecuteInProcessResult]


def test_the_whole_pipeline_fills_buckets_and_tables_and_all_checks_pass(built: Built) -> None:
    pipeline, result = built
    assert result.success, failures(result)
    assert materialized(result) == EVERYTHING
    checks = evaluated(result)
    assert {"bronze/rates:every_day_has_every_currency", "dynamodb/rates:table_equals_gold"} <= set(checks)
    assert all(checks.values())
    gold = {(row[0], row[1]): row[3] for row in pipeline.rows("gold/cross_rates")}
    synced = {item["pair"]: item["rate"] for item in pipeline.items(RATES) if item["period"] == "latest"}
    assert synced == {f"{base}/{currency}": rate for (base, currency), rate in gold.items()}
    assert len(gold) == 9 * 8
    assert len(pipeline.items(RATES)) == len(gold) + len(pipeline.rows("gold/month_rates"))
    assert Counter(event["asset"] for event in pipeline.items(EVENTS)) == {
        "bronze/rates": 3,
        "dynamodb/rates": 1,
        **dict.fromkeys(MODELS, 1),
    }


def test_rows_bytes_and_seconds_of_a_step_are_its_metadata(built: Built) -> None:
    pipeline, result = built
    told = metadata(result)
    stored = pipeline.account.objects("bronze")
    assert told["bronze/rates"]["bytes"] == sum(map(len, stored.values()))
    assert told["bronze/rates"]["dagster/row_count"] == sum(len(rows_of(content)) for content in stored.values())
    assert told["dynamodb/rates"]["dagster/row_count"] == len(pipeline.items(RATES))
    assert all(float(told[key]["seconds"]) > 0 for key in ("bronze/rates", "dynamodb/rates"))


def test_run_twice_it_gives_the_same_tables_and_records_no_event_twice(built: Built) -> None:
    pipeline, _ = built
    before = {table: pipeline.items(table) for table in (RATES, EVENTS)}
    again = pipeline.run()
    assert again.success, failures(again)
    assert {table: pipeline.items(table) for table in before} == before
    assert metadata(again)["bronze/rates"]["objects_written"] == 0
    assert metadata(again)["dynamodb/rates"]["items_written"] == 0


def test_one_model_with_its_downstream_reads_the_rest_from_where_it_lies(built: Built) -> None:
    pipeline, _ = built
    shutil.rmtree(pipeline.folders.state_dir / "warehouse")  # as on another machine: nothing but the object store
    result = pipeline.run("silver/calendar_rates", downstream=True)
    assert result.success, failures(result)
    assert materialized(result) == {"silver/calendar_rates", "gold/month_rates", "dynamodb/rates", "dynamodb/events"}


def test_a_wrong_secret_is_named_by_its_variable_and_never_shown(built: Built) -> None:
    pipeline, _ = built
    wrong = "a-secret-of-somebody-else"
    fetched = pipeline.run("bronze/rates", AWS_SECRET_ACCESS_KEY=wrong)
    assert not fetched.success
    told = failures(fetched)
    assert "s3://bronze: SignatureDoesNotMatch" in told
    assert "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID" in told
    read = pipeline.run("silver/daily_rates", AWS_SECRET_ACCESS_KEY=wrong)
    assert not read.success
    assert "403" in failures(read)
    assert wrong not in told + failures(read)


def test_a_server_that_does_not_answer_is_named_with_the_variables_to_look_at(built: Built) -> None:
    pipeline, _ = built
    result = pipeline.run("bronze/rates", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
    assert not result.success
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/' in failures(result)
    assert "AWS_ENDPOINT_URL_S3" in failures(result)


def test_a_missing_bucket_is_named_and_not_made(pipeline: RatesPipeline) -> None:
    pipeline.edit("tenant.yaml", "s3://bronze/", "s3://bronce/")
    result = pipeline.run()
    assert not result.success
    assert "s3://bronce: NoSuchBucket" in failures(result)
    assert "Make the bucket, or name another under `environment` of tenant.yaml" in failures(result)
    assert materialized(result) == set()


def test_gold_that_was_never_built_is_named_and_no_table_is_emptied(pipeline: RatesPipeline) -> None:
    result = pipeline.run("dynamodb/rates", "dynamodb/events")
    assert not result.success
    assert "s3://gold/makerates does not hold what is synced: gold/cross_rates, gold/month_rates" in failures(result)
    assert pipeline.key_value.client().list_tables()["TableNames"] == []


def test_a_day_without_a_currency_fails_a_check_of_bronze(pipeline: RatesPipeline) -> None:
    pipeline.revise("2026-02", lambda rates: rates["2026-02-10"].pop("USD"))
    assert evaluated(pipeline.run("bronze/rates"))["bronze/rates:every_day_has_every_currency"] is False


def test_revised_answers_change_what_follows_from_them_and_nothing_else(pipeline: RatesPipeline) -> None:
    assert pipeline.run().success
    events, rates = pipeline.items(EVENTS), pipeline.items(RATES)
    pipeline.revise("2026-03", lambda rates: rates["2026-03-31"].update(GBP=1.0))
    result = pipeline.run()
    assert result.success, failures(result)
    after = {(item["pair"], item["period"]): item for item in pipeline.items(RATES)}
    assert after["EUR/GBP", "latest"]["rate"] == 1
    changed = {key for key, item in after.items() if item not in rates}
    of_the_pound = {key for key in after if "GBP" in key[0]}
    assert changed == of_the_pound - {("EUR/GBP", "2026-01"), ("EUR/GBP", "2026-02")}
    now = pipeline.items(EVENTS)
    assert [event for event in now if event in events] == events
    new = {event["asset"]: event["event"].split("#")[:2] for event in now if event not in events}
    assert new["bronze/rates"] == ["fetched", "2026-03"]
    assert new["dynamodb/rates"] == ["synced", RATES]

    for month in ("2026-01", "2026-02", "2026-03"):
        pipeline.revise(month, lambda days: [rates.pop("JPY") for rates in days.values()])
    assert pipeline.run().success
    left = {item["pair"] for item in pipeline.items(RATES)}
    assert left == {pair for pair, _ in after if "JPY" not in pair}


@pytest.fixture(scope="module")
def gateway(container_engine: ContainerEngine) -> str:
    """The address by which this machine and the containers on the tenant's network reach the same servers."""
    make_images(container_engine, REPOSITORY / "tenants")
    return gateway_of_network(container_engine)


@pytest.fixture
def in_containers(folder: Path, gateway: str, container_engine: ContainerEngine) -> Iterator[RatesPipeline]:
    with rates_pipeline(folder, gateway) as made:
        made.edit("tenant.yaml", "execution: process", "execution: docker")
        made.folders.variables.update(container_engine.environ)
        yield made


def test_one_line_runs_all_three_steps_in_containers_with_equal_results(
    built: Built, in_containers: RatesPipeline
) -> None:
    native, natively = built
    result = in_containers.run()
    assert result.success, failures(result)
    assert events_of(result) == events_of(natively)
    assert evaluated(result) == evaluated(natively)
    for model in MODELS:
        assert in_containers.rows(model) == native.rows(model)
    assert in_containers.items(RATES) == native.items(RATES)
    assert in_containers.account.objects("bronze") == native.account.objects("bronze")
    steps = [{name: event[name] for name in ("asset", "event", "rows", "bytes")} for event in native.items(EVENTS)]
    assert [{name: event[name] for name in steps[0]} for event in in_containers.items(EVENTS)] == steps
    told, natively_told = metadata(result), metadata(natively)
    assert {key: set(told[key]) for key in told} == {key: set(natively_told[key]) for key in natively_told}
    assert in_containers.containers_left() == []


def test_in_containers_a_wrong_secret_is_told_as_natively(in_containers: RatesPipeline) -> None:
    result = in_containers.run("bronze/rates", AWS_SECRET_ACCESS_KEY="a-secret-of-somebody-else")
    assert "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID" in failures(result)
    assert "a-secret-of-somebody-else" not in failures(result)


def test_a_network_that_is_missing_is_named_with_what_makes_it(in_containers: RatesPipeline) -> None:
    in_containers.edit("tenant.yaml", f"network: {NETWORK}", "network: makerates-nowhere")
    result = in_containers.run("bronze/rates")
    assert not result.success
    assert "makerates-nowhere: there is no such network" in failures(result)
    assert "`make images`" in failures(result)


def test_an_image_that_is_not_there_is_not_pulled(in_containers: RatesPipeline) -> None:
    in_containers.edit("tenant.yaml", "makerates-ingestion-base:1", "makerates-ingestion-base:none")
    result = in_containers.run("bronze/rates")
    assert not result.success
    assert "makerates-ingestion-base:none" in failures(result)
    assert "`make images`" in failures(result)


def test_an_image_of_other_models_is_refused(in_containers: RatesPipeline) -> None:
    in_containers.edit("models/gold/month_rates.sql", "avg(rate)", "median(rate)")
    result = in_containers.run("gold/month_rates")
    assert not result.success
    assert "`make images`" in failures(result)


def test_a_step_that_takes_longer_than_the_limit_is_ended_and_says_so(in_containers: RatesPipeline) -> None:
    in_containers.edit("tenant.yaml", "timeout_seconds: 600", "timeout_seconds: 1")
    # A server that takes connections and answers none holds the step up.
    with socket.create_server(("0.0.0.0", 0)) as silent:
        host = in_containers.account.endpoint.split("//")[1].split(":")[0]
        address = f"http://{host}:{silent.getsockname()[1]}"
        result = in_containers.run("bronze/rates", AWS_ENDPOINT_URL_S3=address)
    assert not result.success
    assert "timeout_seconds" in failures(result)
    assert in_containers.containers_left() == []


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """What a run told of each asset that it materialized."""
    return {
        "/".join(event.asset_key.path[1:]): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def events_of(result: dg.ExecuteInProcessResult) -> Counter[tuple[str, str | None]]:
    """Dagster's events of a run, by kind and step."""
    return Counter((event.event_type_value, event.step_key) for event in result.all_events)
