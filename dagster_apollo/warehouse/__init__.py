"""What a tenant needs to reach its warehouse: a key pair that is sound, its rotation, and a dbt profile.

Values are passed in; nothing here reads the environment, imports Dagster or connects to anything by itself.
"""
