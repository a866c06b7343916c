"""What stands in, on a laptop, for the services that tenants need: Postgres, S3, DynamoDB, dbt Cloud.

Real servers are taken where they are found, simulations that keep what is in them elsewhere; `starting.py` starts them.
Nothing here is part of an image. This module imports nothing: each stand-in is a process, and pays for its own.
"""
