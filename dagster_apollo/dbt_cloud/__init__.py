"""Tenants whose models dbt Cloud builds: the connection, what is known of the environment, runs, the sensor.

Names, groups and checks are those of every tenant: `dbt/` makes definitions of the manifest, wherever it came from.
"""
