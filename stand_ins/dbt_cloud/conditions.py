"""How slow or broken the stand-in is to be: set while it runs, by tests and by people who want to see it.

Not a part of dbt Cloud's interface: `POST /_conditions` with these fields, and the token.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Conditions(BaseModel):
    """All at once; what is left out is as it should be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int | None = Field(None, ge=400, le=599, description="The HTTP status of every answer.")
    page: bool = Field(False, description="Answer all as a proxy's maintenance page does: with 200, and no JSON.")
    answer_seconds: float = Field(0, ge=0, description="How long each answer is kept back.")
    only: str = Field("", description="The requests that these three concern: what is in `METHOD /path`; empty: all.")
    hide_answers: bool = Field(False, description="Do what is asked, then hold back the answer as long as above.")
    queue_seconds: float = Field(0, ge=0, description="How long a run is queued.")
    step_seconds: float = Field(0, ge=0, description="How much longer each command of a run takes.")
