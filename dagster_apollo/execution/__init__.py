"""Running dbt: the arguments, and the process that gets them. Nothing here knows Dagster."""
