"""`apollo keys rotate`: carrying out a plan of `warehouse/rotation.py` with real logins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.dbt.workspace import Places, read_tenant
from dagster_apollo.errors import KeyPairError, Problem, SettingsError
from dagster_apollo.warehouse.connection import RefusedError, login
from dagster_apollo.warehouse.keypair import read_private_key
from dagster_apollo.warehouse.profiles import snowflake_key
from dagster_apollo.warehouse.rotation import Step, new_key_pair, plan_rotation, read_slots


def rotate(
    environ: Mapping[str, str], places: Places, name: str, new_key_file: Path, *, execute: bool
) -> list[tuple[bool, Step]]:
    """Do what can be done now of a rotation, and say what is left.

    The new key is made if its file is not there. Verifying is always done; SQL is run only when asked for.

    Returns:
        The steps that were left when this began, each with whether it is done now.

    Raises:
        SettingsError, KeyPairError: the tenant's settings, its key or its slots do not allow a rotation.
    """
    tenant, values = read_tenant(environ, places, name)
    key, problems = snowflake_key(tenant, values)
    if problems or key is None:
        raise SettingsError(problems, f"the Snowflake settings of {name} are not right")
    new_key = read_private_key(path=str(new_key_file)) if new_key_file.exists() else new_key_pair(new_key_file)
    user = str(values["SNOWFLAKE_USER"])
    variable = next(
        values.sources[variable]
        for variable in ("SNOWFLAKE_PRIVATE_KEY_PEM", "SNOWFLAKE_PRIVATE_KEY_B64", "SNOWFLAKE_PRIVATE_KEY_PATH")
        if variable in values.sources
    )
    outcome = []
    try:
        with login(values, key) as connection:

            def run(sql: str) -> list[tuple[object, ...]]:
                return list(connection.cursor().execute(sql).fetchall())

            waiting = False
            for step in plan_rotation(read_slots(run, user), key.fingerprint, new_key, user=user, variable=variable):
                done = False
                if not waiting and step.action == "verify":
                    with login(values, new_key):
                        done = True
                elif not waiting and step.sql and execute:
                    run(step.sql)
                    done = True
                waiting = waiting or not done
                outcome.append((done, step))
    except RefusedError as error:
        raise KeyPairError([error.problem], "the rotation cannot go on") from None
    except Exception as error:  # whatever Snowflake says of the SQL
        told = " ".join(str(error).split())
        remedy = "Have an owner of the user run the SQL, then call this again without --execute."
        raise KeyPairError([Problem("Snowflake", told, remedy)], "the rotation cannot go on") from None
    return outcome
