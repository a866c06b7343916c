"""The sizes that a service can have: Render's names, and what each gives.

A Docker host gives its containers the same, so that what fits there fits on Render.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# https://render.com/docs/blueprint-spec: plans of services and of Postgres, as the published schema names them.
ServicePlan = Literal[
    "0.5c-512mb", "1c-2g", "2c-4g", "2c-8g", "2c-16g", "4c-8g", "4c-16g", "4c-32g", "8c-16g", "8c-32g", "8c-64g",
]  # fmt: skip
DatabasePlan = Literal[
    "basic-256mb", "basic-1gb", "basic-4gb", "pro-4gb", "pro-8gb", "pro-16gb", "pro-32gb", "pro-64gb",
]  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a plan gives.

    Attributes:
        memory_mb: in MiB.
        cpus: processors.
    """

    memory_mb: int
    cpus: float


# https://render.com/pricing; the names say the sizes.
PLANS: Mapping[str, Plan] = {
    "0.5c-512mb": Plan(512, 0.5),
    "1c-2g": Plan(2048, 1.0),
    "2c-4g": Plan(4096, 2.0),
    "2c-8g": Plan(8192, 2.0),
    "2c-16g": Plan(16384, 2.0),
    "4c-8g": Plan(8192, 4.0),
    "4c-16g": Plan(16384, 4.0),
    "4c-32g": Plan(32768, 4.0),
    "8c-16g": Plan(16384, 8.0),
    "8c-32g": Plan(32768, 8.0),
    "8c-64g": Plan(65536, 8.0),
    "basic-256mb": Plan(256, 0.1),
    "basic-1gb": Plan(1024, 0.5),
    "basic-4gb": Plan(4096, 2.0),
    "pro-4gb": Plan(4096, 1.0),
    "pro-8gb": Plan(8192, 2.0),
    "pro-16gb": Plan(16384, 4.0),
    "pro-32gb": Plan(32768, 8.0),
    "pro-64gb": Plan(65536, 16.0),
}
