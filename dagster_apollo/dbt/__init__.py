"""A dbt project as Dagster sees it: its manifest, the assets and checks that follow from it, their execution."""
