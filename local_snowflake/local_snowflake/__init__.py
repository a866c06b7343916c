"""A Snowflake for laptops and tests: the HTTP protocol and key-pair login of Snowflake in front of fakesnow and DuckDB.

The package's own module imports nothing, so that `local_snowflake.testing` can be used from an environment that has
neither fakesnow nor DuckDB. The way of a statement is server → session → commands or statements → rewrites → DuckDB.
"""
