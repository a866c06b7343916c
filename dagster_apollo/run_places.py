"""Where a run can be executed, by name: on the code host, or in an engine that exists elsewhere.

Names and sizes alone, which settings, tenants and fork share. Which place a tenant has is `execution/run_place.py`, and
how a run gets there `elsewhere/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from dagster_apollo.plans import ServicePlan

RunPlace = Literal["host", "render_job", "docker", "kubernetes"]
Elsewhere = Literal["render_job", "docker", "kubernetes"]
RUN_PLACES: tuple[RunPlace, ...] = get_args(RunPlace)
ELSEWHERE: tuple[Elsewhere, ...] = get_args(Elsewhere)
# What a code location says of its runs, in the metadata of its repository; one that says nothing has them on the host.
PLACE_KEY, PLAN_KEY = "apollo/run_on", "apollo/run_plan"
# Where a run was launched, as a tag of the run.
PLACE_TAG = "apollo/run_on"
# A one-off job's sizes, by the plan of the same size: Render takes an id alone there, and has none for the others.
RENDER_PLAN_IDS: Mapping[ServicePlan, str] = {
    "0.5c-512mb": "plan-srv-006",
    "1c-2g": "plan-srv-008",
    "2c-4g": "plan-srv-010",
    "4c-8g": "plan-srv-011",
    "4c-16g": "plan-srv-013",
    "8c-32g": "plan-srv-014",
}
