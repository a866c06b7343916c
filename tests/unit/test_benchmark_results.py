"""What the benchmarks write: the form of `results.json`, and that everything a person reads derives from it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.side_by_side import report
from benchmarks.side_by_side.measures import BY_NAME, MEASURES, Measure

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
ABOUT = {
    "machine": "2 cores (any), 8 GB, Linux, Python 3.11.0",
    "date": "2026-01-31",
    "commit": "abc1234",
    "command": "make bench",
    "walls": "a user for each tenant",
    "load_before": 0.1,
    "load_after": 0.2,
}
STAMP = {name: ABOUT[name] for name in ("machine", "date", "commit")}
ASKED_FOR = {
    "launch_to_success_9_vs_bare",
    "launch_to_success_9_vs_vanilla",
    "launch_to_success_100_vs_bare",
    "one_model_of_1000_vs_bare",
    "pss_50_vs_vanilla_10",
    "boot_50_vs_vanilla_5",
    "rest_cpu_50_vs_vanilla_10",
}


def taken(measure: Measure, ours: Sequence[float] = (1.0, 2.0, 9.0), peer: Sequence[float] = (4.0,)) -> dict[str, Any]:
    return measure.taken({measure.ours: ours, measure.peer: peer}, STAMP)


def results(*entries: Mapping[str, Any], details: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    return report.merged({"measures": []}, entries, details, ABOUT)


def test_no_two_measures_have_one_name() -> None:
    assert len(BY_NAME) == len(MEASURES)
    assert set(BY_NAME) >= ASKED_FOR


def test_a_measure_is_medians_with_every_sample_and_the_ratio_of_ours_to_the_peer() -> None:
    entry = taken(BY_NAME["launch_to_success_9_vs_vanilla"], ours=[1.0, 2.0, 9.0], peer=[40.0, 30.0, 20.0])

    assert (entry["ours"], entry["peers"], entry["peer"], entry["unit"]) == (2.0, {"vanilla": 30.0}, "vanilla", "s")
    assert entry["ratio"] == pytest.approx(1 / 15)
    assert entry["samples"] == {"ours": [1.0, 2.0, 9.0], "vanilla": [40.0, 30.0, 20.0]}


@pytest.mark.parametrize(
    ("name", "ours", "peer", "met"),
    [
        ("launch_to_success_9_vs_bare", 1.0, 5.0, True),
        ("launch_to_success_9_vs_bare", 1.1, 5.0, False),
        ("connections_100_vs_vanilla", 5.0, 6.0, True),
        ("connections_100_vs_vanilla", 6.0, 1600.0, False),
    ],
)
def test_a_goal_is_of_the_ratio_or_of_our_own_value(name: str, ours: float, peer: float, met: bool) -> None:
    entry = taken(BY_NAME[name], [ours], [peer])

    assert entry["goal"]["met"] is met
    assert ("**not met**" in report.table(results(entry))) is not met


def test_a_measure_taken_again_replaces_its_entry_and_no_other() -> None:
    first, second = BY_NAME["launch_to_success_9_vs_bare"], BY_NAME["pss_50_vs_vanilla_10"]
    before = results(taken(second), taken(first))

    after = report.merged(before, [taken(first, ours=[7.0])], [], {**ABOUT, "commit": "def5678"})

    assert [entry["name"] for entry in after["measures"]] == [first.name, second.name]  # as they are declared
    assert after["measures"][0]["ours"] == 7.0
    assert after["measures"][1] == before["measures"][1]


def test_a_measure_whose_peer_shows_nothing_has_no_ratio_and_no_bar() -> None:
    entry = taken(BY_NAME["connections_9_vs_vanilla"], [1.0], [0.0])

    assert entry["ratio"] is None
    picture = report.derived(results(entry))[report.CHART]
    assert BY_NAME["connections_9_vs_vanilla"].title not in picture


def test_the_picture_is_svg_with_a_bar_for_each_measure_and_the_waterfall_of_each_side() -> None:
    found = [taken(measure) for measure in MEASURES]
    sample = {"answered": 0.1, "launched": 0.2, "run started": 0.4, "first asset": 0.5, "last asset": 0.7}
    waterfalls = {side: [{**sample, "success seen": 0.8}] for side in ("vanilla", "ours")}

    picture = report.derived(results(*found, details=[{"project": 9, "waterfalls": waterfalls}]))[report.CHART]

    tree = ET.fromstring(picture)
    told = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert [measure.name for measure in MEASURES if f"{measure.title} ({measure.beside})" not in told] == []
    assert {"vanilla", "ours"} <= set(told)
    widths = [float(bar.get("width", "0")) for bar in tree.iter("{http://www.w3.org/2000/svg}rect")]
    assert min(widths) >= 0


def test_the_waterfall_has_the_median_of_every_stage_that_all_samples_have() -> None:
    samples = [{"a": 3.0, "b": 1.0}, {"a": 5.0, "b": 2.0, "c": 9.0}, {"a": 4.0, "b": 0.0}]

    assert report.waterfall(samples) == {"b": 1.0, "a": 4.0}


def test_the_documentation_shows_what_the_results_say_and_keeps_what_people_wrote() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"

    shown = report.shown(page, results(taken(BY_NAME["pss_50_vs_vanilla_10"])))

    assert shown.startswith("before\n")
    assert shown.endswith(f"{report.END}\nafter\n")
    assert "`pss_50_vs_vanilla_10`" in shown
    assert "old" not in shown
    assert report.shown(shown, {"measures": []}) == page.replace("old", report.NOTHING_YET)


def test_the_committed_pages_are_derived_from_the_committed_results() -> None:
    found = report.read(BENCHMARKS)
    page = (ROOT / report.PAGE).read_text()

    assert page == report.shown(page, found), "written by hand, or by another version: `make bench` writes it"
    written = {name: (BENCHMARKS / name).read_text() for name in (report.TABLE, report.CHART) if found["measures"]}
    assert written == (report.derived(found) if found["measures"] else {})


def test_the_committed_results_have_the_form_that_is_promised() -> None:
    for entry in report.read(BENCHMARKS)["measures"]:
        assert entry["name"] in BY_NAME
        assert {"name", "unit", "ours", "peers", "ratio", "peer", "samples", *STAMP} <= set(entry)
        again = BY_NAME[entry["name"]]
        samples = {reading: entry["samples"][reading.side] for reading in again.readings}
        assert json.loads(json.dumps(again.taken(samples, {name: entry[name] for name in STAMP}))) == entry


def test_stages_that_are_reached_at_once_stand_as_they_follow_each_other() -> None:
    """One model alone is the first asset and the last one."""
    stages = ["answered", "step started", "first asset", "last asset", "step ended", "success seen"]

    found = report.waterfall([dict(zip(stages, [1.0, 2.0, 3.0, 3.0, 3.0, 4.0], strict=True))] * 2)

    assert [*found] == stages


def test_what_is_kept_of_a_side_that_is_not_measured_again_stays() -> None:
    before = results(
        details=[{"project": 9, "waterfalls": {"ours": [{"answered": 1.0}], "vanilla": [{"answered": 2.0}]}}]
    )

    after = report.merged(before, [], [{"project": 9, "waterfalls": {"ours": [{"answered": 0.5}]}}], ABOUT)

    assert after["details"] == [
        {"project": 9, "waterfalls": {"ours": [{"answered": 0.5}], "vanilla": [{"answered": 2.0}]}}
    ]
