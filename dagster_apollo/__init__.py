"""Dagster OSS for many dbt tenants. Importing the package imports nothing else."""
