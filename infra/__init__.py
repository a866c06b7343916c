"""The Pulumi program that puts the topology on a Docker host, and what `make up` and `make down` do with it.

It reads `dagster_apollo.fork` and `dagster_apollo.topology` and never Dagster. What is the same on every platform
belongs there; here is only how Docker is told, and by which engine.
"""
