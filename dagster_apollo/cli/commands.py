"""The groups of commands put together."""

from __future__ import annotations

import typer

from dagster_apollo.cli import access, backup, ci, deploying, fork, keys, local, materialize, serving, tenants

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Dagster OSS for many dbt tenants.")
app.add_typer(local.app)
app.add_typer(materialize.app)
app.add_typer(tenants.app, name="tenant")
app.add_typer(keys.app, name="keys")
app.add_typer(fork.app)
app.add_typer(access.users_app, name="users")
app.add_typer(access.tokens_app, name="tokens")
app.add_typer(deploying.app)
app.add_typer(deploying.secrets_app, name="secrets")
app.add_typer(backup.app)
app.add_typer(ci.app, name="ci")
app.add_typer(serving.app)
