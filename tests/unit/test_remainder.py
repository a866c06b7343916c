"""What of a run is not done, read from real runs of a step that makes several assets and their checks."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from dagster_apollo.runs.remainder import Remainder, remainder

NAMES = ("a", "b", "c")
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def run_of(
    instance: dg.DagsterInstance, built: str, checked: dict[str, tuple[bool, dg.AssetCheckSeverity]], *, ends: bool
) -> Remainder:
    """The remainder of a run that recorded this much, and then ended well or died."""

    @dg.multi_asset(
        specs=[dg.AssetSpec(name, skippable=True) for name in NAMES],
        check_specs=[dg.AssetCheckSpec("ok", asset=name, blocking=name == "a") for name in NAMES],
        can_subset=True,
    )
    def models() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        for name in built:
            yield dg.MaterializeResult(asset_key=name)
        for name, (passed, severity) in checked.items():
            yield dg.AssetCheckResult(asset_key=name, check_name="ok", passed=passed, severity=severity)
        if not ends:
            raise dg.Failure("the process died", allow_retries=False)

    result = dg.materialize([models], instance=instance, raise_on_error=False)
    found = remainder(instance, result.dagster_run)
    assert found is not None
    return found


def names(left: Remainder) -> tuple[str, str]:
    assets = sorted(key.to_user_string() for key in left.assets)
    return "".join(assets), "".join(sorted(key.asset_key.to_user_string() for key in left.checks))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.mark.parametrize(
    ("built", "checked", "left"),
    [
        ("", {}, ("abc", "abc")),
        ("ab", {"a": (True, ERROR)}, ("c", "bc")),
        ("abc", {"a": (True, ERROR), "b": (True, ERROR)}, ("", "c")),
        # What failed is asked again, and its model, whose success is stored, is not built again: blocking or not.
        ("ab", {"a": (False, ERROR), "b": (True, ERROR)}, ("c", "ac")),
        ("ab", {"a": (True, ERROR), "b": (False, ERROR)}, ("c", "bc")),
        ("abc", {"a": (False, WARN), "b": (True, ERROR), "c": (True, ERROR)}, ("", "abc")),
    ],
)
def test_what_is_stored_is_not_done_again(
    instance: dg.DagsterInstance,
    built: str,
    checked: dict[str, tuple[bool, dg.AssetCheckSeverity]],
    left: tuple[str, str],
) -> None:
    found = run_of(instance, built, checked, ends=False)

    assert names(found) == left
    assert found.built is bool(built)
    assert not found.ended


def test_a_check_that_warned_is_done(instance: dg.DagsterInstance) -> None:
    checked = {"a": (False, WARN), "b": (True, ERROR), "c": (False, ERROR)}

    assert names(run_of(instance, "abc", checked, ends=True)) == ("", "c")


def test_a_run_that_did_everything_has_nothing_left(instance: dg.DagsterInstance) -> None:
    found = run_of(instance, "abc", dict.fromkeys(NAMES, (True, ERROR)), ends=True)

    assert found.is_empty
    assert found.ended


def test_a_step_that_recorded_all_and_did_not_end_is_asked_for_its_checks_again(instance: dg.DagsterInstance) -> None:
    found = run_of(instance, "abc", dict.fromkeys(NAMES, (True, ERROR)), ends=False)

    assert names(found) == ("", "abc")


def test_a_step_that_is_repeated_whole_has_come_no_further(instance: dg.DagsterInstance) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec(name) for name in NAMES])
    def models() -> Iterator[dg.MaterializeResult[None]]:
        yield dg.MaterializeResult(asset_key="a")
        raise dg.Failure("the process died", allow_retries=False)

    found = remainder(instance, dg.materialize([models], instance=instance, raise_on_error=False).dagster_run)

    assert found is not None
    assert names(found) == ("abc", "")
    assert not found.built


def test_steps_without_assets_are_dagsters_own_to_account_for(instance: dg.DagsterInstance) -> None:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def plain() -> None:
        nothing()

    result = plain.execute_in_process(instance=instance)

    assert remainder(instance, result.dagster_run) is None
