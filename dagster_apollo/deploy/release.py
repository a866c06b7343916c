"""A release: the services brought to one image in their order, looked at, and kept or undone.

What happens to one service is `rollout.py`, what is looked at `smoke.py`. The configured image moves last, when all is
well: until then a restart brings back what was proven. docs/adr/0006 says why it is done in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum

from dagster_apollo.deploy.image import Image
from dagster_apollo.deploy.render_api import RenderApi
from dagster_apollo.deploy.render_http import Clock, RealClock
from dagster_apollo.deploy.rollout import End, Kind, Limits, Rollout
from dagster_apollo.deploy.smoke import Health, StatusPage, look_when_settled, watch
from dagster_apollo.deploy.targets import Target
from dagster_apollo.errors import DeployError, Problem, RenderError

Say = Callable[[str], None]


class Ending(IntEnum):
    """How a release ended: the exit code of `apollo deploy`. 1 and 2 mean that nothing was begun."""

    WELL = 0
    NOT_BEGUN = 1
    FAILED = 3
    ROLLED_BACK = 4
    UNKNOWN = 5
    SUPERSEDED = 6
    NOT_CONFIGURED = 7


@dataclass(frozen=True)
class Outcome:
    """What came of a release.

    Attributes:
        ending: in one word.
        headline: in one sentence.
        problems: why, and what was red already.
        live: what is live now, a line for each service.
    """

    ending: Ending
    headline: str
    problems: tuple[Problem, ...] = ()
    live: tuple[str, ...] = ()


class Release:
    """One release.

    Args:
        api: Render.
        targets: the services, in the order in which they change.
        image: what they are brought to.
        page: where the smoke test looks.
        locations: those that this repository declares.
        limits: how long things may take.
        say: told how it goes.
        clock: time.
        force: deploy also what is live on that image already, so that it sees new variables.
    """

    def __init__(
        self,
        api: RenderApi,
        targets: Sequence[Target],
        image: Image,
        page: StatusPage,
        locations: Collection[str],
        *,
        limits: Limits,
        say: Say,
        clock: Clock | None = None,
        force: bool = False,
    ) -> None:
        self._api = api
        self._targets = targets
        self._image = image
        self._page = page
        self._locations = locations
        self._limits = limits
        self._say = say
        self._clock = clock or RealClock()
        self._force = force

    def run(self) -> Outcome:
        """Do it.

        Raises:
            DeployError: before anything was begun: the API key or the token is refused, Render cannot be reached.
        """
        settle, poll = self._limits.settle_seconds, self._limits.poll_seconds
        before = look_when_settled(self._page, clock=self._clock, settle_seconds=settle, poll_seconds=poll)
        if before.unheard:
            self._say(f"before: {before.unheard}; nothing is known of what loaded")
        rollouts = [Rollout(self._api, target, self._clock, self._limits, self._say) for target in self._targets]
        begun: list[Rollout] = []
        try:
            outcome = self._bring_live(rollouts, begun) or self._judge(before, rollouts, begun)
        except KeyboardInterrupt:
            for rollout in begun:
                self._say(f"{rollout.name}: interrupted; its deploy goes on at Render and nothing is undone")
            raise
        live = tuple(self._live_line(target) for target in self._targets)
        return Outcome(outcome.ending, outcome.headline, outcome.problems, live)

    # ---- Forward. ----

    def _bring_live(self, rollouts: Sequence[Rollout], begun: list[Rollout]) -> Outcome | None:
        """All services, one after the other; None when all are live on the image."""
        for rollout in rollouts:
            if not self._force and rollout.before and rollout.before.digest == self._image.digest:
                self._say(f"{rollout.name}: live on {self._image.short} already")
                continue
            begun.append(rollout)
            end = self._guarded(lambda rollout=rollout: rollout.deploy(self._image))  # type: ignore[misc]
            if end.kind is Kind.LIVE:
                continue
            if end.kind is not Kind.LIVE_IN_VAIN:
                begun.remove(rollout)
            remedy = "See that service's events and log in Render's dashboard."
            return self._undo(end.kind, [Problem(rollout.name, end.told, remedy)], begun)
        return None

    def _judge(self, before: Health, rollouts: Sequence[Rollout], begun: list[Rollout]) -> Outcome:
        """The smoke test, and what follows from it."""
        self._say(f"smoke test of {self._page.url}")
        limits = self._limits
        try:
            problems = watch(
                self._page,
                before,
                self._locations,
                clock=self._clock,
                settle_seconds=limits.settle_seconds if begun else 0,
                limit_seconds=limits.smoke_seconds,
                poll_seconds=limits.poll_seconds,
            )
        except DeployError as error:  # the token was good before
            problems = list(error.problems)
        if any(problem.severity == "error" for problem in problems):
            return self._undo(Kind.LIVE_IN_VAIN, problems, begun)
        return self._configure(problems, rollouts)

    def _configure(self, problems: list[Problem], rollouts: Sequence[Rollout]) -> Outcome:
        """Move the configured image of every service."""
        left = []
        try:
            others = [rollout.name for rollout in rollouts if rollout.overtaken()]
        except RenderError as error:
            others, left = [], list(error.problems)
        if others:
            remedy = "Nothing was undone; see who deployed, and deploy again if that was not meant."
            told = [Problem(name, "another deploy has begun since ours was live", remedy) for name in others]
            return Outcome(Ending.SUPERSEDED, "superseded by another deploy", (*told, *problems))
        for rollout in rollouts if not left else ():
            try:
                rollout.configure(self._image)
            except RenderError as error:
                left += [Problem(rollout.name, f"its configured image is the old one: {p}", "") for p in error.problems]
        if left:
            headline = "live and well, but a restart would bring the old image back: run the same deploy again"
            return Outcome(Ending.NOT_CONFIGURED, headline, (*left, *problems))
        return Outcome(Ending.WELL, f"live and well on {self._image}", tuple(problems))

    # ---- Back. ----

    def _undo(self, kind: Kind, problems: list[Problem], begun: Sequence[Rollout]) -> Outcome:
        if kind is Kind.SUPERSEDED:
            return Outcome(Ending.SUPERSEDED, "superseded by another deploy, which is left alone", tuple(problems))
        unknown = kind is Kind.UNKNOWN
        for rollout in reversed(begun):
            end = self._guarded(rollout.undo)
            if end.kind is Kind.LIVE:
                continue
            problems.append(Problem(rollout.name, f"was not rolled back: {end.told}", "Look at it in the dashboard."))
            if end.kind is Kind.SUPERSEDED:
                return Outcome(Ending.SUPERSEDED, "failed, and superseded by another deploy", tuple(problems))
            unknown = True
        if unknown:
            return Outcome(Ending.UNKNOWN, "failed, and what is live must be looked at", tuple(problems))
        if begun:
            return Outcome(Ending.ROLLED_BACK, "failed and rolled back: what was live before is live", tuple(problems))
        return Outcome(Ending.FAILED, "failed: what was live before still is", tuple(problems))

    def _guarded(self, step: Callable[[], End]) -> End:
        """A refusal in the midst of it is an end like another: what was begun is still to be undone."""
        try:
            return step()
        except RenderError as error:
            return End(Kind.UNKNOWN, str(error.problems[0]))

    def _live_line(self, target: Target) -> str:
        try:
            live = next(iter(self._api.deploys(target.service.id, status="live", limit=1)), None)
        except RenderError:
            return f"{target.service.name}: cannot be asked"
        if live is None:
            return f"{target.service.name}: nothing is live"
        return f"{target.service.name}: {live.digest or live.image.ref} ({live.id})"
