"""What differs between a commit and this one, and which commit is live: what Git and GitHub say of it.

What follows from the paths is `projections/ci_matrix.py`. Where Git or GitHub cannot tell (a shallow clone, a first
deploy, no network) the answer is None with the reason, never a guess: whoever asked then takes everything.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ENVIRONMENT = "production"
# What GitHub calls a deployment that succeeded; one that another has replaced is INACTIVE.
_SUCCEEDED = ("ACTIVE", "SUCCESS")
_TIMEOUT_SECONDS = 30.0
_DEPLOYMENTS = """
query($owner: String!, $name: String!, $environment: String!) {
  repository(owner: $owner, name: $name) {
    deployments(environments: [$environment], first: 100, orderBy: {field: CREATED_AT, direction: DESC}) {
      nodes { commitOid state }
    }
  }
}
"""


@dataclass(frozen=True)
class Unknown:
    """What cannot be told, and why."""

    reason: str


def changed_paths(root: Path, base: str | None, *, since_branching: bool = False) -> tuple[str, ...] | Unknown:
    """Every path that differs between a commit and the one that is checked out; a file that was moved is two.

    Args:
        root: the repository.
        base: a commit, branch or tag.
        since_branching: leave out what the base's own branch has gained since; else the two trees are compared.
    """
    if not base:
        return Unknown("there is no commit to compare with")
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if isinstance(commit, Unknown):
        return Unknown(f"{base!r} is no commit of this clone")
    if since_branching:
        commit = _git(root, "merge-base", commit.strip(), "HEAD")
        if isinstance(commit, Unknown):
            return Unknown(f"this clone does not reach back to where {base!r} and it parted")
    words = ("diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--relative", commit.strip(), "HEAD")
    paths = _git(root, *words)
    return paths if isinstance(paths, Unknown) else tuple(path for path in paths.split("\0") if path)


def deployed_commit(environ: Mapping[str, str]) -> str | Unknown:
    """The commit whose deploy to production was the last to succeed, as GitHub has recorded it.

    Not the commit before this push: its deploy may have failed, or been left out when several waited.

    Args:
        environ: GITHUB_REPOSITORY, GITHUB_TOKEN, and GITHUB_GRAPHQL_URL where it is not github.com's, as GitHub
            Actions sets them. The token needs `deployments: read`.
    """
    owner, _, name = environ.get("GITHUB_REPOSITORY", "").partition("/")
    token = environ.get("GITHUB_TOKEN", "").strip()
    if not owner or not name or not token:
        return Unknown("GITHUB_REPOSITORY and GITHUB_TOKEN are not set")
    url = environ.get("GITHUB_GRAPHQL_URL") or "https://api.github.com/graphql"
    asked = {"query": _DEPLOYMENTS, "variables": {"owner": owner, "name": name, "environment": ENVIRONMENT}}
    try:
        answer = httpx.post(url, json=asked, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        nodes: list[dict[str, Any]] = answer.json()["data"]["repository"]["deployments"]["nodes"]
        succeeded = [str(node["commitOid"]) for node in nodes if node["state"] in _SUCCEEDED]
        return succeeded[0] if succeeded else Unknown("nothing was deployed to production yet")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Unknown(f"GitHub does not say what is deployed ({type(error).__name__})")
    except (KeyError, TypeError):
        return Unknown("GitHub does not say what is deployed (its answer has another form)")


def _git(root: Path, *words: str) -> str | Unknown:
    try:
        ended = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except OSError as error:
        return Unknown(f"git cannot be run ({error.strerror})")
    if ended.returncode:
        return Unknown(f"git says: {ended.stderr.strip() or ended.returncode}")
    return ended.stdout
