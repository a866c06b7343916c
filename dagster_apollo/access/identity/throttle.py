"""How often a guess may be made: every kind of key has an allowance that fills again by itself.

A key is an address, a name or a browser that was let in before; who is asked for which is `sign_in.py`. Nobody is
locked out: an allowance that is used up returns at its rate, whatever is tried meanwhile. Memory is bounded.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Key = tuple[str, str]


@dataclass(frozen=True)
class Allowance:
    """So many at once, then one in so many seconds."""

    at_once: int
    then_every_seconds: float


class Throttle:
    """Counts attempts by their keys, in this process: the generic cell rate algorithm, one number a key.

    Args:
        allowances: by the kind of key, its first part.
        most: how many keys are remembered; beyond it, those that were used longest ago are forgotten.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        allowances: dict[str, Allowance],
        most: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowances = allowances
        self._most = most
        self._clock = clock
        self._full_again_at: OrderedDict[Key, float] = OrderedDict()

    def attempt(self, keys: Sequence[Key]) -> float:
        """Count an attempt against all of these keys, unless one of them is used up.

        Returns:
            0 when it was counted and may be made, else the seconds after which it may; then nothing was counted, so
            that one key that is used up does not use up another.
        """
        now = self._clock()
        wait = max(self._wait(key, now) for key in keys)
        if wait > 0:
            return wait
        for key in keys:
            every = self._allowances[key[0]].then_every_seconds
            self._full_again_at[key] = max(self._full_again_at.get(key, now), now) + every
            self._full_again_at.move_to_end(key)
        while len(self._full_again_at) > self._most:
            self._full_again_at.popitem(last=False)
        return 0.0

    def forgive(self, keys: Sequence[Key]) -> None:
        """Take back an attempt that turned out to be right."""
        for key in keys:
            if key in self._full_again_at:
                self._full_again_at[key] -= self._allowances[key[0]].then_every_seconds

    def _wait(self, key: Key, now: float) -> float:
        allowance = self._allowances[key[0]]
        backlog = self._full_again_at.get(key, now) - now
        return max(0.0, backlog - (allowance.at_once - 1) * allowance.then_every_seconds)
