"""Webserver and daemon take runs from one queue at once: each run is begun once, and a tenant's follow each other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

from tests.support.instances import migrated
from tests.support.postgres import Postgres
from tests.support.queue_participant import POOLS
from tests.support.stack import REPOSITORY
from tests.support.webserver import wait_until

RUNS = 10
ENDED = "select count(*) from runs where status = 'SUCCESS'"


def test_webserver_and_daemon_race_for_one_tenant(postgres: Postgres, tmp_path: Path) -> None:
    environ = {**migrated(postgres, tmp_path / "home"), "PATH": os.environ["PATH"]}

    def start(who: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tests.support.queue_participant", who, str(RUNS)]
        return subprocess.Popen(
            words, env=environ, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def go(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    # Two webservers beside one daemon: a run that cannot begin when it is submitted is the daemon's.
    racing = [start("daemon"), start("webserver"), start("webserver")]
    for process in racing:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    daemon, *webservers = racing
    for process in webservers:
        go(process)
    # One has ended before the daemon looks: a webserver began it. Which of the others are whose is the race.
    wait_until(lambda: postgres.rows(ENDED) > [(0,)], "a run has ended", 600)
    go(daemon)
    said = [process.communicate(timeout=600)[0] for process in webservers]
    wait_until(lambda: postgres.rows(ENDED) == [(RUNS * len(webservers),)], "every run has ended", 600)
    said.append(daemon.communicate(timeout=120)[0])

    begun = [line.split() for text in said for line in text.splitlines()]
    by = Counter(who for who, *_ in begun)
    assert Counter(Counter(run_id for _, run_id, *_ in begun).values()) == {1: RUNS * len(webservers)}
    assert set(by) == {"webserver", "daemon"}, f"both begin some, the daemon at least those that were left: {by}"
    for pool in POOLS:
        spans = sorted((float(began), float(end)) for _, _, job, began, end in begun if job == pool)
        assert all(end <= began for (_, end), (began, _) in pairwise(spans)), pool
