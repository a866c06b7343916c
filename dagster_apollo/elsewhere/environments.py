"""How the first process of a run's container gets its tenant's variables from the code host.

The daemon proves, with the secret that it shares with the code host, that one run of one code location was launched
now; the container shows that proof and is given what a process of that tenant has. A proof is good for a few minutes
and for that tenant alone: who reads it in `docker inspect` later learns nothing by it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote

from dagster_apollo import environment
from dagster_apollo.errors import HostError, Problem
from dagster_apollo.locations import tenant_of

PROOF_VARIABLE = "APOLLO_RUN_PROOF"
# The secret of webserver, daemon and code host.
TOKEN_VARIABLE = "APOLLO_CODE_TOKEN"  # noqa: S105
# An image that the engine has yet to pull is there by then.
GOOD_FOR_SECONDS = 600
_TIMEOUT_SECONDS = 30.0
_PATH = re.compile(r"/environments/(?P<location>[^/?]+)/(?P<run_id>[0-9a-f-]{36})")
# What is about the code host's machine, and no other's.
_OF_THE_MACHINE = re.compile(
    r"PATH|HOME|HOSTNAME|PWD|SHLVL|_|TMPDIR|PORT|PYTHON.*|DOCKER_.*|DAGSTER_HOME|APOLLO_(BIND|CONTAINER|CODE_TOKEN"
    r"|BAKED_DIR|STATE_DIR|TENANTS_DIR|DRAIN_SECONDS)"
)


def prove(token: str, location: str, run_id: str, now: float) -> str:
    """A proof that a run of a location was launched.

    Args:
        token: the secret.
        location: the code location.
        run_id: the run.
        now: the moment, in seconds since 1970.
    """
    until = int(now) + GOOD_FOR_SECONDS
    return f"{until}.{_signature(token, location, run_id, until)}"


def is_proven(proof: str, token: str, location: str, run_id: str, now: float) -> bool:
    """Whether a proof is of this secret, location and run, and still good."""
    until, _, signature = proof.partition(".")
    if not token or not re.fullmatch(r"[0-9]{1,12}", until) or int(until) < now:
        return False
    return hmac.compare_digest(signature, _signature(token, location, run_id, int(until)))


def _signature(token: str, location: str, run_id: str, until: int) -> str:
    said = "\n".join(("apollo-run", location, run_id, str(until)))
    return hmac.new(token.encode(), said.encode(), hashlib.sha256).hexdigest()


def path_of(location: str, run_id: str) -> str:
    """Where the code host's directory answers for a run."""
    return f"/environments/{quote(location, safe='')}/{run_id}"


class RunEnvironments:
    """What the code host answers.

    Args:
        environ: everybody's variables.
        is_served: whether a tenant of a name is.
        now: the time, in seconds since 1970.
    """

    def __init__(
        self, environ: Mapping[str, str], is_served: Callable[[str], bool], now: Callable[[], float] = time.time
    ) -> None:
        self._environ = environ
        self._is_served = is_served
        self._now = now

    def __repr__(self) -> str:
        return "RunEnvironments()"

    def answer(self, path: str, authorization: str) -> bytes | None:
        """The tenant's variables as JSON; None: nothing is said, whatever is wrong.

        Args:
            path: as `path_of` makes it.
            authorization: the request's header, `Bearer PROOF`.
        """
        asked = _PATH.fullmatch(path)
        scheme, _, proof = authorization.partition(" ")
        if asked is None or scheme != "Bearer":
            return None
        location, token = unquote(asked["location"]), self._environ.get(TOKEN_VARIABLE, "")
        tenant = tenant_of(location)
        if not is_proven(proof, token, location, asked["run_id"], self._now()) or not self._is_served(tenant):
            return None
        own = environment.for_tenant(environment.without_settings_of_others(self._environ, "code"), tenant)
        return json.dumps({name: text for name, text in own.items() if not _OF_THE_MACHINE.fullmatch(name)}).encode()


def fetch(host: str, port: int, location: str, run_id: str, proof: str) -> dict[str, str]:
    """A tenant's variables, from the code host.

    Raises:
        HostError: it does not answer, or does not take the proof. Nothing of what it answered is told.
    """
    shown = f"[{host}]" if ":" in host else host
    where = f"the code host at {shown}:{port}"
    request = urllib.request.Request(f"http://{shown}:{port}{path_of(location, run_id)}")
    request.add_unredirected_header("Authorization", f"Bearer {proof}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    failure = ""
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            content = json.load(answer)
    except urllib.error.HTTPError as error:
        failure = f"answers with {error.code}: the run was launched more than {GOOD_FOR_SECONDS} s ago, or elsewhere"
    except (OSError, ValueError) as error:
        failure = f"does not answer: {type(error).__name__}"
    if failure:
        raise HostError([Problem(where, failure, "See its log, and give daemon and code host the same release.")])
    return {str(name): str(text) for name, text in content.items()}
