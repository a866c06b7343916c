"""The first process's loop: who speaks is heard, who ends is told of once, who talks nonsense is let go alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dagster_apollo.code_host.lines import Line, pair
from dagster_apollo.code_host.processes import Loop, Peer


class Heard:
    """What the loop told of one process."""

    def __init__(self, loop: Loop, name: str) -> None:
        ours, theirs = pair()
        self.theirs, self.said, self.codes = Line(theirs), [], []  # type: ignore[var-annotated]
        self.peer = loop.add(Peer(name, Line(ours, waits=False), self._hear, self._end))

    def _hear(self, peer: Peer, fields: Mapping[str, Any]) -> None:
        self.said.append(fields["word"])

    def _end(self, peer: Peer) -> None:
        self.codes.append(peer.code)


def turn(loop: Loop, times: int = 3) -> None:
    for _ in range(times):
        loop.turn(0.05)


def test_each_is_heard_in_order_and_answered() -> None:
    loop = Loop()
    one, other = Heard(loop, "one"), Heard(loop, "other")
    one.theirs.send({"word": 1})
    one.theirs.send({"word": 2})
    other.theirs.send({"word": 3})
    turn(loop)

    assert (one.said, other.said) == ([1, 2], [3])
    one.peer.say({"word": "back"})
    answer = one.theirs.receive()
    assert answer is not None
    assert answer.fields == {"word": "back"}


def test_an_end_is_told_once_with_the_code_that_comes_after_it() -> None:
    loop = Loop()
    one = Heard(loop, "one")
    loop.numbered(one.peer, 4_000_001)
    one.theirs.close()
    loop.turn(0.05)
    assert loop.ended(4_000_001, -9)
    turn(loop)

    assert one.codes == [-9]
    assert not loop.ended(4_000_001, 0)
    one.peer.say({"word": "to nobody"})  # is no error


def test_one_that_talks_nonsense_is_let_go_and_the_others_go_on() -> None:
    loop = Loop()
    mad, well = Heard(loop, "mad"), Heard(loop, "well")
    mad.theirs.send({"another": "word"})
    well.theirs.send({"word": 1})
    turn(loop)
    well.theirs.send({"word": 2})
    turn(loop)

    assert mad.peer.gone_at is not None
    assert well.said == [1, 2]


def test_what_cannot_be_counted_with_ends_nothing_but_who_says_it() -> None:
    loop = Loop()
    mad, well = Heard(loop, "mad"), Heard(loop, "well")
    mad.peer.on_message = lambda peer, fields: loop.numbered(peer, int(fields["pid"]))
    mad.theirs.send({"pid": float("inf")})
    well.theirs.send({"word": 1})
    turn(loop)

    assert mad.peer.gone_at is not None
    assert well.said == [1]


def test_one_that_never_ends_to_speak_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_apollo.code_host.processes._MOST_MESSAGES", 10)
    loop = Loop()
    endless, well = Heard(loop, "endless"), Heard(loop, "well")
    for number in range(20):
        endless.theirs.send({"word": number})
    for number in range(9):
        well.theirs.send({"word": number})
    turn(loop)

    assert endless.said == list(range(10))
    assert endless.peer.gone_at is not None
    assert well.said == list(range(9))


def test_an_end_that_cannot_be_acted_on_keeps_nobody_else_from_being_told_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full_disk(peer: Peer) -> None:
        raise OSError(28, "No space left on device")

    loop = Loop()
    one, other = Heard(loop, "one"), Heard(loop, "other")
    one.peer.on_end = full_disk
    for each, pid in ((one, 4_000_003), (other, 4_000_004)):
        loop.numbered(each.peer, pid)
        each.theirs.close()
    loop.turn(0.05)
    for pid in (4_000_003, 4_000_004):
        loop.ended(pid, 0)
    turn(loop)

    assert other.codes == [0]
    assert "one: its end cannot be acted on: No space left on device" in capsys.readouterr().out


def test_a_number_that_is_anothers_is_not_taken_over() -> None:
    loop = Loop()
    one, liar = Heard(loop, "one"), Heard(loop, "liar")
    loop.numbered(one.peer, 4_000_002)
    loop.numbered(liar.peer, 4_000_002)
    loop.ended(4_000_002, 3)

    assert (one.peer.code, liar.peer.code, liar.peer.pid) == (3, None, None)
