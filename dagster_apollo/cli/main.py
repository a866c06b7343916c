"""`apollo`: which commands there are, and how each ends.

Exit code 0 is well, 1 something was found wrong, 2 wrong usage.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer
from rich.markup import escape

from dagster_apollo.cli import serving
from dagster_apollo.cli.console import err, print_problem
from dagster_apollo.errors import ApolloError, Problem, ProblemsError


def main() -> None:
    """The entry point: errors of ours are told without a traceback."""
    _end_as_by_ctrl_c()
    try:
        _commands(sys.argv[1:])()
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


def _commands(words: Sequence[str]) -> typer.Typer:
    """All commands; of a role's, those alone: it keeps in memory, for as long as it lives, what it has imported."""
    roles = {command.callback.__name__ for command in serving.app.registered_commands if command.callback}
    if words and words[0] in roles:
        return serving.app
    from dagster_apollo.cli.commands import app

    return app


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
