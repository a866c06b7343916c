"""The same location with one asset more, whose freshness policy grants it a minute.

Dagster's own way to ask for it: https://docs.dagster.io/guides/observe/asset-freshness-policies. Served in place of
`definitions.py` where it is measured what such a policy costs at rest. A file that is served has one `Definitions`
among its names.
"""

from datetime import timedelta

import definitions
from dagster import Definitions, FreshnessPolicy, asset


@asset(freshness_policy=FreshnessPolicy.time_window(fail_window=timedelta(minutes=1)))
def landed() -> None:
    """Something that should arrive every minute."""


defs = Definitions.merge(definitions.defs, Definitions(assets=[landed]))
