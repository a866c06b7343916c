"""One service brought to one image, and back: begun, found again, followed to its end.

Which services, in which order, and what follows from an end stands in `release.py`. The one idea: a deploy is ours when
it came after we asked and is of our digest; so a queued one is found, a request that nobody answered may be repeated,
and another's deploy is told from ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from dagster_apollo.deploy.image import Image
from dagster_apollo.deploy.render_api import RenderApi
from dagster_apollo.deploy.render_http import Clock
from dagster_apollo.deploy.resources import FAILED, Deploy
from dagster_apollo.deploy.targets import Target
from dagster_apollo.errors import RenderError

_REPEATS = 3
_LONGEST_PAUSE_SECONDS = 15.0
# How long a deploy that was canceled may take until Render calls it so.
_CANCEL_SECONDS = 120.0
# A way back is not given up because somebody was impatient with the way there.
_ROLLBACK_SECONDS = 1800.0
_MEANING = {
    "build_failed": "the image could not be pulled",
    "pre_deploy_failed": "the command before the deploy, `apollo migrate`, failed",
    "update_failed": "the new version did not become healthy",
}


class Kind(Enum):
    """How a rollout ended."""

    LIVE = "live"
    FAILED = "failed"  # and what was live still is
    LIVE_IN_VAIN = "live in vain"  # live, but too late or of another image: it is to be undone
    SUPERSEDED = "superseded"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class End:
    """A rollout's end, and what there is to say of it."""

    kind: Kind
    told: str = ""


@dataclass(frozen=True)
class Limits:
    """How long things may take.

    Attributes:
        deploy_seconds: one deploy of one service, with the time that it is queued. Render itself gives a new version
            15 minutes to become healthy and the command before it 30 (https://render.com/docs/deploys).
        settle_seconds: from the last service's being live to the smoke test.
        smoke_seconds: until the smoke test must have passed.
        poll_seconds: between two looks, at first.
    """

    deploy_seconds: float = 1800
    settle_seconds: float = 90
    smoke_seconds: float = 300
    poll_seconds: float = 3


class Rollout:
    """One service on its way to an image.

    Args:
        api: Render.
        target: the service.
        clock: time.
        limits: how long it may take.
        say: told how it goes.

    Attributes:
        before: the deploy that was live when this began; None: none was.

    Raises:
        RenderError: Render cannot be asked.
    """

    def __init__(
        self, api: RenderApi, target: Target, clock: Clock, limits: Limits, say: Callable[[str], None]
    ) -> None:
        self.target = target
        self.before = next(iter(api.deploys(target.service.id, status="live", limit=1)), None)
        self._api = api
        self._clock = clock
        self._limits = limits
        self._say = lambda line: say(f"{target.service.name}: {line}")
        self._digest = ""
        self._known: set[str] = set()
        self._seconds = limits.deploy_seconds
        self._id: str | None = None

    @property
    def name(self) -> str:
        return self.target.service.name

    def deploy(self, image: Image) -> End:
        """Put an image live: by the service's hook where there is one, else through the API."""

        def ask() -> str | None:
            if self.target.hook:
                return self._api.call_hook(self.target.hook, image)
            started = self._api.start_deploy(self.target.service.id, image)
            return started.id if started else None

        how = "by its deploy hook" if self.target.hook else "through the API"
        self._say(f"deploying {image.short} {how}")
        return self._run(ask, image.digest)

    def undo(self) -> End:
        """Put live again what was so before, and make its image the configured one."""
        service = self.target.service
        if self.before is None or self.before.digest is None:
            return End(Kind.UNKNOWN, "there is nothing to go back to: no deploy by digest was live before")
        if self.overtaken():
            return End(Kind.SUPERSEDED, "another deploy has begun meanwhile; it is left alone")
        before_id, digest = self.before.id, self.before.digest
        self._say(f"rolling back to {before_id}, {digest[:19]}")
        end = self._run(lambda: self._api.roll_back(service.id, before_id).id, digest, at_least=_ROLLBACK_SECONDS)
        if end.kind is Kind.LIVE and self._api.service(service.id).image_path != service.image_path:
            self._api.configure_image(service, service.image_path)
        return end

    def configure(self, image: Image) -> None:
        """Make the image the configured one, which later restarts take.

        Raises:
            RenderError: it is not.
        """
        service = self._api.service(self.target.service.id)
        if service.image_path != str(image):
            self._api.configure_image(service, str(image))
            self._say(f"restarts take {image.short} from now on")

    def overtaken(self) -> bool:
        """Whether a deploy of something else came after ours."""
        return self._id is not None and any(deploy.digest != self._digest for deploy in self._after_ours())

    # ---- Begun. ----

    def _run(self, ask: Callable[[], str | None], digest: str, *, at_least: float = 0.0) -> End:
        self._known = {deploy.id for deploy in self._api.deploys(self.target.service.id)}
        self._digest, self._id = digest, None
        self._seconds = max(self._limits.deploy_seconds, at_least)
        try:
            self._begin(ask)
        except RenderError as error:
            return End(Kind.FAILED if error.status else Kind.UNKNOWN, str(error.problems[0]))
        try:
            return self._follow()
        except RenderError as error:
            return End(Kind.UNKNOWN, f"its deploy could not be followed: {error.problems[0]}")

    def _begin(self, ask: Callable[[], str | None]) -> None:
        for attempt in range(1, _REPEATS + 1):
            try:
                self._id = ask()
            except RenderError as error:
                heard = error.status is not None and error.status < 500
                if heard or (attempt == _REPEATS and not self._find()):
                    raise
                # Two deploys of one digest do no harm, so what was perhaps not heard is asked for again.
                self._clock.sleep(self._limits.poll_seconds)
                if self._find():
                    return
                continue
            if self._id is None:
                self._say("queued behind another deploy")
            return

    def _find(self) -> bool:
        """Look for our deploy among those that came after we asked."""
        for deploy in self._api.deploys(self.target.service.id):
            if deploy.id not in self._known and deploy.digest == self._digest:
                self._id = deploy.id
                return True
        return False

    # ---- Followed. ----

    def _follow(self) -> End:
        deadline = self._clock.now() + self._seconds
        pause, last = self._limits.poll_seconds, ""
        while True:
            deploy = self._look()
            if deploy and deploy.status != last:
                self._say(f"{deploy.id} {deploy.status.replace('_', ' ')}")
                last = deploy.status
            if deploy and deploy.has_ended:
                end = self._end_of(deploy)
                if end:
                    return end
            if self._clock.now() >= deadline:
                return self._give_up()
            self._clock.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_PAUSE_SECONDS)

    def _look(self) -> Deploy | None:
        """Our deploy as it stands; None: it is not to be seen yet, or Render is not to be reached just now."""
        try:
            if self._id is None and not self._find():
                return None
            return self._api.deploy(self.target.service.id, str(self._id))
        except RenderError as error:
            if error.status is None or error.status >= 500 or error.status == 429:
                return None
            raise

    def _end_of(self, deploy: Deploy) -> End | None:
        """What the end of our deploy means; None: another of the same digest took its place and is followed."""
        if deploy.status == "live":
            if deploy.digest == self._digest:
                return End(Kind.LIVE)
            return End(Kind.LIVE_IN_VAIN, f"{deploy.id} is live on {deploy.digest or 'an image that Render omits'}")
        if deploy.status in FAILED:
            return End(Kind.FAILED, f"{deploy.id} ended with {deploy.status}: {_MEANING[deploy.status]}")
        for later in self._after_ours():
            if later.digest == self._digest:
                self._id = later.id
                return None
            return End(Kind.SUPERSEDED, f"{deploy.id} was {deploy.status}: {later.id} came after it")
        if deploy.status == "deactivated":
            return End(Kind.SUPERSEDED, f"{deploy.id} was deactivated by another deploy")
        return End(Kind.FAILED, f"{deploy.id} was canceled by somebody")

    def _after_ours(self) -> list[Deploy]:
        """Deploys that are newer than ours and did not fail, the newest first."""
        newer = []
        for deploy in self._api.deploys(self.target.service.id):
            if deploy.id == self._id:
                break
            if deploy.id not in self._known and deploy.status not in (*FAILED, "canceled"):
                newer.append(deploy)
        return newer

    def _give_up(self) -> End:
        minutes = f"{self._seconds / 60:g} minutes"
        if self._id is None:
            return End(
                Kind.UNKNOWN, f"still queued after {minutes}, under an id that Render did not tell: it may begin"
            )
        self._say(f"not live after {minutes}: canceling {self._id}")
        try:
            self._api.cancel_deploy(self.target.service.id, self._id)
        except RenderError as error:
            self._say(str(error.problems[0]))  # it may have ended in this moment
        deadline = self._clock.now() + _CANCEL_SECONDS
        while self._clock.now() < deadline:
            deploy = self._look()
            if deploy and deploy.has_ended:
                if deploy.status == "live":
                    return End(Kind.LIVE_IN_VAIN, f"{deploy.id} went live only after {minutes}")
                return End(Kind.FAILED, f"{deploy.id} was not live after {minutes} and was canceled")
            self._clock.sleep(self._limits.poll_seconds)
        return End(Kind.UNKNOWN, f"{self._id} was not live after {minutes} and cannot be canceled")
