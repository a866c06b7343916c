"""`apollo` in this process, with planted secrets, and a look at all that was said, logged and raised."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo import errors
from dagster_apollo.cli import commands, console, main
from tests.support.canary import found_in


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


Apollo = Callable[..., Said]


@contextmanager
def apollo_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    root: Path,
    settings: dict[str, str],
    planted: list[str],
) -> Iterator[Apollo]:
    """Runs `apollo`; in the end no planted secret may stand in anything that was told.

    Args:
        root: the fork's folder.
        settings: the variables of every command; a command may change some, and take some away by None.
        planted: the secrets; `secrets=` of a command adds to them.
    """
    caplog.set_level(logging.DEBUG)
    raised: list[str] = []
    told: list[str] = []
    logged: list[str] = []
    heard, command = errors.ProblemsError.__init__, commands.app

    def remember(self: errors.ProblemsError, *arguments: Any, **options: Any) -> None:
        heard(self, *arguments, **options)
        raised.append(str(self))

    def remembering(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except Exception as error:
            raised.append("".join(traceback.format_exception(error)))
            link: BaseException | None = error
            while link:  # also what `from None` keeps from being shown
                raised.append(f"{link!r} {link.args!r} {vars(link)!r}")
                link = link.__cause__ or link.__context__
            raise

    monkeypatch.setattr(errors.ProblemsError, "__init__", remember)
    monkeypatch.setattr(console, "repository_root", lambda: root)
    monkeypatch.setattr(commands, "app", remembering)
    monkeypatch.setattr(main, "_end_as_by_ctrl_c", lambda: None)

    def run(*words: str, secrets: tuple[str, ...] = (), **environ: str | None) -> Said:
        planted.extend(secrets)
        with monkeypatch.context() as patch:
            for name, value in {**settings, **environ}.items():
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
            patch.setattr(sys, "argv", ["apollo", *words])
            with pytest.raises(SystemExit) as ended:
                main.main()
        streams = capsys.readouterr()
        told.extend([streams.out, streams.err])
        # The fake, in this process too, logs the requests that it gets.
        logged.extend(record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn"))
        return Said(int(ended.value.code or 0), streams.out, streams.err)

    yield run
    for where, texts in (("said", told), ("logged", logged), ("raised", raised)):
        assert found_in("\n".join(texts), planted) == [], f"a secret was {where}"
