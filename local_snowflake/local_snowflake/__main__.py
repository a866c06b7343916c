"""`python -m local_snowflake`: see `local_snowflake.cli`."""

from local_snowflake.cli import main

if __name__ == "__main__":
    main()
