"""`apollo`: the groups of commands put together, and how each ends.

Exit code 0 is well, 1 something was found wrong, 2 wrong usage.
"""

from __future__ import annotations

import signal

import typer
from rich.markup import escape

from dagster_apollo.cli import access, backup, ci, deploying, fork, keys, local, materialize, serving, tenants
from dagster_apollo.cli.console import err, print_problem
from dagster_apollo.errors import ApolloError, Problem, ProblemsError

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


def main() -> None:
    """The entry point: errors of ours are told without a traceback."""
    _end_as_by_ctrl_c()
    try:
        app()
    except ProblemsError as error:
        err.print(f"[red bold]error[/]: {escape(error.heading)}")
        for problem in error.problems:
            print_problem(problem, err)
        raise SystemExit(1) from None
    except ApolloError as error:
        err.print(f"error: {error}", markup=False)
        raise SystemExit(1) from None
    except OSError as error:
        where = str(error.filename or "a file")
        remedy = "Check the path, its permissions, and the settings that name it (APOLLO_STATE_DIR, DAGSTER_HOME, …)."
        print_problem(Problem(where, f"cannot be used: {error.strerror or error}", remedy), err)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        err.print("interrupted")
        raise SystemExit(130) from None


def _end_as_by_ctrl_c() -> None:
    """SIGTERM, and SIGHUP when the terminal is closed, end a command as Ctrl-C does: orderly.

    So does SIGINT in the background of a script, whose shell has had it ignored.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


if __name__ == "__main__":
    main()
