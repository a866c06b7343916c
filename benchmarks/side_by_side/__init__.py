"""What `make bench` measures: bare dbt, Dagster's documented way and ours, on the same project and machine, in turns.

`measures.py` says what there is to measure; `runs.py` and `fleets.py` measure; `bare.py`, `vanilla.py` and `ours.py`
are the sides; `report.py` and `chart.py` write what was found. Nothing here knows how our code host works inside: it is
started by its commands and asked over GraphQL.
"""
