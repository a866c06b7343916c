"""`apollo materialize`: build what dbt's selection names, as a run of a webserver."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import typer

from dagster_apollo.cli.console import here, out
from dagster_apollo.errors import HostError, Problem, SettingsError
from dagster_apollo.settings import Values, read

app = typer.Typer()


@app.command()
def materialize(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    select: Annotated[str, typer.Option(help="dbt's node selection: `tag:stg`, `stg_orders+`.")] = "fqn:*",
    exclude: Annotated[str, typer.Option(help="dbt's node selection of what to leave out.")] = "",
    days: Annotated[
        str | None, typer.Option(help="Of what is partitioned: `2026-01-31`, `2026-01-01:2026-01-31` or `all`.")
    ] = None,
    full_refresh: Annotated[bool, typer.Option(help="Build incremental models from nothing.")] = False,
    url: Annotated[str | None, typer.Option(help="The webserver; unset: that of `apollo dev`.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end; the run goes on without.")] = True,
) -> None:
    """Build a selection of a tenant's models by a run, as the page does: recorded, queued, taken up again."""
    from dagster_apollo.dbt.preparation import load_prepared, prepare
    from dagster_apollo.dbt.workspace import open_workspace
    from dagster_apollo.host.materialization import Wanted, launch, planned, selected_keys, watch
    from dagster_apollo.host.webserver_client import WebserverClient
    from dagster_apollo.locations import declared_locations

    environ, places = here()
    # Nothing is built here: what is not set of the warehouse keeps nobody from asking.
    workspace = open_workspace(environ, places, tenant, parse_only=True)
    prepare(workspace)
    wanted = Wanted(select, exclude, days, full_refresh)
    keys = selected_keys(workspace.tenant, load_prepared(workspace), wanted)
    values = read({name: environ[name] for name in ("PORT", "APOLLO_TOKEN") if name in environ})
    address = (url or f"http://127.0.0.1:{values['PORT']}").rstrip("/")
    webserver = WebserverClient(address, _token_for(address, values) if url else None)
    plans = planned(webserver, tenant, declared_locations(places.tenants_dir, tenant), keys, wanted)
    if not wait and (later := [plan.location for plan in plans if plan.needs_others]):
        what = f"what {', '.join(later)} builds needs what is built before, in another code location"
        raise HostError([Problem("--no-wait", what, "Leave it out: they are built one after the other.")])
    for number, plan in enumerate(plans):
        one = launch(webserver, plan)
        what = "backfill" if one.is_backfill else "run"
        page = f"{address}/runs/b/{one.id}" if one.is_backfill else f"{address}/runs/{one.id}"
        out.print(f"{one.location}: {what} {page}", markup=False)
        if wait and not watch(webserver, one, lambda line: out.print(line, markup=False)):
            for left in plans[number + 1 :]:
                out.print(f"{left.location}: not launched, since {one.location} did not succeed", markup=False)
            raise typer.Exit(1)


def _token_for(address: str, values: Values) -> str | None:
    """The token, unless it would travel in the clear.

    Raises:
        SettingsError: it would.
    """
    token, url = values.text("APOLLO_TOKEN"), urlsplit(address)
    if token and url.scheme != "https" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
        problem = Problem("--url", f"{address} is not https, and APOLLO_TOKEN would be sent to it", "Give https://….")
        raise SettingsError([problem])
    return token
