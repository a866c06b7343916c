"""The login, made from settings: all of its parts, or a refusal that names everything that is missing.

`Login.configured` for a webserver that others reach, `Login.none` for a laptop's. A webserver puts `middleware()`
before everything else. How the parts work is in their own modules; which settings there are is `settings.py`.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.routing import Route

from dagster_apollo.access.audit import AuditLog
from dagster_apollo.access.identity.access_source import AccessSource
from dagster_apollo.access.identity.claims import is_entra_for_anybody
from dagster_apollo.access.identity.ended_sessions import EndedSessions
from dagster_apollo.access.identity.identify import Identifier
from dagster_apollo.access.identity.middleware import LoginMiddleware, LoopbackMiddleware, Surroundings
from dagster_apollo.access.identity.oidc import Provider
from dagster_apollo.access.identity.open_sockets import OpenSockets
from dagster_apollo.access.identity.origin import is_loopback
from dagster_apollo.access.identity.pages import Pages
from dagster_apollo.access.identity.sessions import Sessions
from dagster_apollo.access.identity.sign_in import ALLOWANCES, PROVIDER_CALLBACK, SignIn
from dagster_apollo.access.identity.throttle import Throttle
from dagster_apollo.errors import AccessFileError, Problem, SettingsError
from dagster_apollo.fork import Fork
from dagster_apollo.settings import Values, read

SHORTEST_SECRET = 32
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
# On Render everything comes over its private network, through Cloudflare, which gives the client's address.
_RENDER_PROXIES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
_RENDER_CLIENT_HEADER = "cf-connecting-ip"
_OIDC = ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")


class Login:
    """Who may ask a webserver, and how they prove it.

    Attributes:
        audit: where logins, logouts and changes are written down.
        is_open: whether there is no login, because only this machine can ask.
        notes: warnings for whoever started the process.
    """

    def __init__(self, middleware: Middleware, routes: list[Route], audit: AuditLog, notes: list[Problem]) -> None:
        self._middleware, self._routes = middleware, routes
        self.audit, self.notes = audit, notes
        self.is_open = middleware.cls is LoopbackMiddleware

    @classmethod
    def none(cls, bind: str = "127.0.0.1", audit: AuditLog | None = None) -> Login:
        """No login: every request of this machine is an administrator's, named `local`.

        Raises:
            SettingsError: when anything but this machine can reach that address.
        """
        if not is_loopback(bind):
            raise SettingsError([_nobody_guards(bind)])
        return cls(Middleware(LoopbackMiddleware), [], audit or AuditLog(), [])

    @classmethod
    def configured(
        cls,
        environ: Mapping[str, str],
        fork: Fork,
        root: Path,
        *,
        bind: str | None = None,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = time.time,
        container_marks: tuple[Path, ...] = _CONTAINER_MARKS,
    ) -> Login:
        """The login that the settings describe; none, where there are no such settings and only this machine can ask.

        Args:
            environ: all variables.
            fork: its login rules, and its name.
            root: where relative paths start.
            bind: the address that is listened on, if it is another than APOLLO_BIND.
            clock: seconds since 1970, for sessions.
            container_marks: files that container engines leave in a container.

        Raises:
            SettingsError: with everything that is missing or wrong.
        """
        values = read(environ)
        address = bind or str(values["APOLLO_BIND"])
        contained = _container(values, environ, container_marks)
        wanted = [name for name in (*_OIDC, "APOLLO_SESSION_SECRET", "APOLLO_ACCESS") if values[name]]
        if not wanted and not _file(values, root).exists() and not contained and is_loopback(address):
            return cls.none(address, audit)
        problems: list[Problem] = []
        access = _access(values, root, problems)
        secret = _secret(values, problems)
        public_url = _public_url(values, environ, fork, problems)
        if not any(values[name] for name in _OIDC) and access is not None and not access.current().users:
            problems.insert(0, _nobody_comes_in("in a container" if contained else f"on {address}"))
        provider = _provider(values, fork, public_url, problems)
        surroundings = Surroundings(
            public_url, _trusted(values, environ, problems), _RENDER_CLIENT_HEADER if environ.get("RENDER") else None
        )
        if problems or access is None or secret is None:
            raise SettingsError(problems)
        notes = [] if is_loopback(address) or (public_url or "").startswith("https://") else [_in_the_clear()]
        return cls._made(
            access,
            fork,
            provider,
            Sessions(secret, clock),
            _ended(values, root),
            surroundings,
            audit or AuditLog(),
            notes,
        )

    @classmethod
    def _made(
        cls,
        access: AccessSource,
        fork: Fork,
        provider: Provider | None,
        sessions: Sessions,
        ended: EndedSessions,
        surroundings: Surroundings,
        audit: AuditLog,
        notes: list[Problem],
    ) -> Login:
        identifier = Identifier(access, fork.login, sessions, ended, has_provider=provider is not None)
        sockets, pages = OpenSockets(), Pages(fork.name, provider.label if provider else None)
        sign_in = SignIn(access, fork.login, provider, identifier, sockets, audit, pages, Throttle(ALLOWANCES))
        middleware = Middleware(
            LoginMiddleware,
            sign_in=sign_in,
            identifier=identifier,
            sockets=sockets,
            audit=audit,
            pages=pages,
            surroundings=surroundings,
        )
        return cls(middleware, sign_in.routes(), audit, notes)

    def middleware(self) -> Middleware:
        """What stands before every route; it answers the login's own routes itself."""
        return self._middleware

    def routes(self) -> list[Route]:
        """The login's own routes, for whoever lists what is public."""
        return list(self._routes)


def _container(values: Values, environ: Mapping[str, str], marks: tuple[Path, ...]) -> bool:
    return bool(values["APOLLO_CONTAINER"] or environ.get("RENDER") or any(mark.exists() for mark in marks))


def _file(values: Values, root: Path) -> Path:
    return root / str(values["APOLLO_ACCESS_PATH"])


def _access(values: Values, root: Path, problems: list[Problem]) -> AccessSource | None:
    text = values.text("APOLLO_ACCESS")
    if text and "APOLLO_ACCESS_PATH" in values.sources:
        problems.append(
            Problem("APOLLO_ACCESS, APOLLO_ACCESS_PATH", "both are set", "Keep one: the text, or the file's path.")
        )
        return None
    try:
        return AccessSource.of_text(text, "APOLLO_ACCESS") if text else AccessSource.of_file(_file(values, root))
    except AccessFileError as error:
        problems.extend(error.problems)
        return None


def _secret(values: Values, problems: list[Problem]) -> str | None:
    secret = values.text("APOLLO_SESSION_SECRET")
    remedy = "Set it to what `openssl rand -hex 32` prints, the same for every copy of the webserver."
    if not secret:
        problems.append(Problem("APOLLO_SESSION_SECRET", "is not set", remedy))
    elif len(secret) < SHORTEST_SECRET:
        what = f"has {len(secret)} characters, fewer than {SHORTEST_SECRET}"
        problems.append(Problem("APOLLO_SESSION_SECRET", what, remedy))
    elif len(set(secret)) < 8:
        problems.append(Problem("APOLLO_SESSION_SECRET", "is a few characters repeated", remedy))
    else:
        return secret
    return None


def _public_url(values: Values, environ: Mapping[str, str], fork: Fork, problems: list[Problem]) -> str | None:
    text = values.text("APOLLO_PUBLIC_URL") or (f"https://{fork.domain}" if fork.domain else None)
    text = text or environ.get("RENDER_EXTERNAL_URL")
    if not text:
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        remedy = "Give scheme and host alone: `https://data.example.com`."
        problems.append(Problem("APOLLO_PUBLIC_URL", f"{text!r} is not the address of a host", remedy))
        return None
    return f"{parts.scheme}://{parts.netloc}"


def _provider(values: Values, fork: Fork, public_url: str | None, problems: list[Problem]) -> Provider | None:
    given = {name: values.text(name) for name in _OIDC}
    if not any(given.values()):
        return None
    found: list[Problem] = []
    for name, value in given.items():
        if not value:
            found.append(Problem(name, "is not set, and the others of OIDC are", "See docs/access.md."))
    issuer = given["OIDC_ISSUER"] or ""
    parts = urlsplit(issuer)
    if issuer and parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        found.append(
            Problem("OIDC_ISSUER", "is not an https address", "Give the issuer: `https://accounts.google.com`.")
        )
    elif is_entra_for_anybody(issuer):
        what = "is Entra's for every organization, in which anybody may carry any e-mail address"
        remedy = "Give your tenant's: `https://login.microsoftonline.com/TENANT-ID/v2.0`."
        found.append(Problem("OIDC_ISSUER", what, remedy))
    if public_url is None and not _about(problems, "APOLLO_PUBLIC_URL"):
        remedy = "Set it to the address that people type, `https://data.example.com`."
        found.append(Problem("APOLLO_PUBLIC_URL", "is not set, and a provider has to send people back", remedy))
    if not (fork.login.domains or fork.login.groups or fork.login.emails):
        remedy = "Add `[login.domains]`, `[login.groups]` or `[login.emails]` (docs/access.md)."
        found.append(Problem("apollo.toml", "no rule lets anybody in by OIDC", remedy))
    problems += found
    if found or public_url is None:
        return None
    return Provider(
        issuer,
        str(given["OIDC_CLIENT_ID"]),
        str(given["OIDC_CLIENT_SECRET"]),
        f"{public_url}{PROVIDER_CALLBACK}",
        wants_groups=bool(fork.login.groups),
    )


def _about(problems: list[Problem], where: str) -> list[Problem]:
    return [problem for problem in problems if problem.where == where]


def _trusted(values: Values, environ: Mapping[str, str], problems: list[Problem]) -> tuple[str, ...]:
    text = values.text("APOLLO_TRUSTED_PROXIES")
    if not text:
        return _RENDER_PROXIES if environ.get("RENDER") else ()
    entries = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            remedy = "Give addresses or networks, `172.30.0.0/16`, separated by commas."
            problems.append(Problem("APOLLO_TRUSTED_PROXIES", f"{entry!r} is neither", remedy))
    return entries


def _ended(values: Values, root: Path) -> EndedSessions:
    if url := values.text("DAGSTER_PG_URI"):
        return EndedSessions(url)
    home = root / str(values["DAGSTER_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    return EndedSessions(f"sqlite:///{home / 'ended_sessions.db'}")


def _nobody_guards(bind: str) -> Problem:
    what = f"without a login a webserver listens on this machine's own addresses only, and {bind} is another"
    return Problem("APOLLO_BIND", what, "Set it to 127.0.0.1, or configure a login (docs/access.md).")


def _nobody_comes_in(where: str) -> Problem:
    remedy = (
        "Make a user by `apollo users add` and give the file as APOLLO_ACCESS or at APOLLO_ACCESS_PATH, or set "
        "OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET and APOLLO_PUBLIC_URL (docs/access.md)."
    )
    return Problem("APOLLO_ACCESS", f"nobody could log in, and the webserver does not start {where} like that", remedy)


def _in_the_clear() -> Problem:
    what = "the webserver is reached without https: passwords and sessions travel in the clear"
    return Problem("APOLLO_PUBLIC_URL", what, "Put TLS in front and set it to the https address.", "warning")
