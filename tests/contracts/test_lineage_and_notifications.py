"""What the rooms of lineage and notifications take from libraries beyond their documented names."""

from __future__ import annotations

import inspect

import apprise
import pytest
from dagster._core.storage import tags
from openlineage.common.provider.dbt.processor import DbtArtifactProcessor

from dagster_apollo.lineage import artifacts, run
from dagster_apollo.notifications import ended_runs, sensors

OVERRIDDEN = (
    "get_dbt_metadata",
    "extract_namespace",
    "extract_dataset_data",
    "node_to_output_dataset",
    "get_column_lineage",
    "dbt_run_run_facet",
)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_openlineages_processor_still_calls_what_is_overridden_with_the_same_arguments(name: str) -> None:
    theirs = inspect.signature(getattr(DbtArtifactProcessor, name)).parameters
    ours = inspect.signature(getattr(artifacts._Processor, name)).parameters
    assert list(ours) == list(theirs)


def test_dagsters_tags_are_still_called_so() -> None:
    assert ended_runs._WILL_RETRY == tags.WILL_RETRY_TAG
    assert ended_runs._RETRIED_BY == tags.AUTO_RETRY_RUN_ID_TAG
    assert sensors._REPOSITORY_TAG == tags.REPOSITORY_LABEL_TAG
    assert run._PARTITION_TAGS == (
        (tags.ASSET_PARTITION_RANGE_START_TAG, tags.ASSET_PARTITION_RANGE_END_TAG),
        (tags.PARTITION_NAME_TAG, tags.PARTITION_NAME_TAG),
    )


def test_apprise_still_gives_nothing_for_a_url_that_it_does_not_know() -> None:
    assert apprise.Apprise.instantiate("nosuchservice://x", suppress_exceptions=True) is None
    assert apprise.Apprise.instantiate("json://localhost/x", suppress_exceptions=True) is not None
