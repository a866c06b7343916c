"""A stand-in for dbt Cloud: its Administrative API, versions 2 and 3, over dbt Core on this machine.

A job that is triggered really runs the project, in a process of its own against a DuckDB file, and leaves dbt's own
artifacts. What it answers follows the published interface: https://github.com/dbt-labs/dbt-cloud-openapi-spec. It
imports nothing of `dagster_apollo`; what dbt Cloud has beyond jobs and runs (people, git, an IDE) is not here.
"""
