"""The login's pages, plain HTML that needs no JavaScript, with one stylesheet, and the strip laid over Dagster's.

Texts and looks are here; which page is answered when, with which status and cookies, is `sign_in.py`.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dagster_apollo.access.users import User

STYLESHEET = "/login/style.css"
_FOLDER = Path(__file__).parent


class Pages:
    """Renders the pages.

    Args:
        title: what this Dagster is called: the fork's name.
        provider: what people call the identity provider; None: there is none.
    """

    def __init__(self, title: str, provider: str | None) -> None:
        self.title, self.provider = title, provider
        self._templates = Environment(
            loader=PackageLoader(__name__, ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    @cached_property
    def stylesheet(self) -> bytes:
        """The one stylesheet."""
        return (_FOLDER / "style.css").read_bytes()

    @cached_property
    def stylesheet_url(self) -> str:
        """Its address, which changes with it, so that browsers may keep it."""
        return f"{STYLESHEET}?v={hashlib.sha256(self.stylesheet).hexdigest()[:12]}"

    def login(
        self, *, token: str, target: str, name: str = "", error: str = "", note: str = "", has_passwords: bool = True
    ) -> str:
        """The login page.

        Args:
            token: the form's token.
            target: where to go afterwards, a path of ours.
            name: what was typed as a name.
            error: what went wrong, announced to screen readers.
            note: what else is said, such as that somebody is logged out.
            has_passwords: whether anybody logs in with a password.
        """
        return self._render(
            "login.html",
            token=token,
            target=target,
            name=name,
            error=error,
            note=note,
            has_passwords=has_passwords,
            provider=self.provider,
        )

    def logout(self, user: User, token: str, error: str = "") -> str:
        """The page with a button that logs out."""
        return self._render("logout.html", user=user, tenants=_tenants(user), token=token, error=error)

    def strip(self, user: User, token: str) -> bytes:
        """What is laid over Dagster's own page: who is logged in, and the way out."""
        return self._render("strip.html", user=user, tenants=_tenants(user), token=token).encode()

    def _render(self, template: str, **content: Any) -> str:
        return self._templates.get_template(template).render(
            title=self.title, stylesheet=self.stylesheet_url, **content
        )


def _tenants(user: User) -> str:
    return ", ".join(sorted(user.tenants)) if user.tenants is not None else ""
