"""Every setting of the project, once, and how an environment is read.

A setting is declared in `SETTINGS` and nowhere else: the parser, `.env.example` and the table in the documentation
follow from it. What a tenant says of itself stands in its folder (`tenant.py`); how settings become a dbt profile is
`warehouse/profiles.py`. Importing this module reads no environment: the edge passes a mapping in.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from dagster_apollo.errors import Problem, SettingsError
from dagster_apollo.run_places import RUN_PLACES

Kind = Literal["text", "integer", "boolean", "choice", "path", "postgres_url"]
Process = Literal["webserver", "daemon", "code", "cli"]
Value = str | int | bool | None

TARGETS = ("local", "dev", "prod")
# A variable of such a name is taken for a secret, whoever reads it.
LOOKS_SECRET = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|_PWD|PASSPHRASE|PRIVATE_KEY|CREDENTIAL|API_?KEY|ACCESS_KEY|_KEY$|_DSN$"
    r"|CONNECTION_STRING|_PG_URI"
)
KEY_VARIABLES = ("SNOWFLAKE_PRIVATE_KEY_PEM", "SNOWFLAKE_PRIVATE_KEY_B64", "SNOWFLAKE_PRIVATE_KEY_PATH")


@dataclass(frozen=True)
class Setting:
    """One environment variable that the project reads.

    Attributes:
        name: the variable's name, without a tenant's prefix.
        kind: how its text is read.
        help: one sentence for a person.
        used_by: the processes that read it.
        default: its value when it is unset; a mapping gives one per dbt target.
        secret: its value is never shown, logged or handed to dbt in the clear.
        per_tenant: a tenant may override it by its prefix, as in `DBT_WILLIAMGRANT__SNOWFLAKE_USER`.
        choices: what a `choice` may be.
        minimum, maximum: the bounds of an `integer`, both included.
        group: the heading under which the documentation lists it.
    """

    name: str
    kind: Kind
    help: str
    used_by: tuple[Process, ...]
    group: str
    default: Value | Mapping[str, Value] = None
    secret: bool = False
    per_tenant: bool = True
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 2**31 - 1

    def default_for(self, target: str) -> Value:
        """The default under a dbt target."""
        return self.default.get(target) if isinstance(self.default, Mapping) else self.default


_DBT: tuple[Process, ...] = ("code", "cli")
_ALL: tuple[Process, ...] = ("webserver", "daemon", "code", "cli")

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "DBT_TARGET",
        "choice",
        "Where dbt builds: `local` (an embedded DuckDB), `dev` or `prod` (the tenant's warehouse).",
        _DBT,
        "dbt",
        default="local",
        choices=TARGETS,
    ),
    Setting(
        "DBT_PROFILE_NAME",
        "text",
        "The profile's name for a project whose `dbt_project.yml` names none.",
        _DBT,
        "dbt",
        default="apollo-snowflake",
    ),
    Setting(
        "DBT_THREADS",
        "integer",
        "How many nodes dbt builds at once.",
        _DBT,
        "dbt",
        default={"local": 4, "dev": 8, "prod": 24},
        minimum=1,
        maximum=256,
    ),
    Setting(
        "DBT_SCHEMA",
        "text",
        "A schema for the profile. Discouraged: projects route by `+schema`; left out unless set.",
        _DBT,
        "dbt",
    ),
    Setting(
        "APOLLO_EXECUTION",
        "choice",
        "Overrides a tenant's `execution`: `process` where a platform has no container engine, or `docker`.",
        _DBT,
        "dbt",
        choices=("process", "docker"),
    ),
    Setting(
        "APOLLO_RUN_ON",
        "choice",
        "Overrides a tenant's `run_on`, where a platform lacks that place or another is wanted.",
        _DBT,
        "dbt",
        choices=RUN_PLACES,
    ),
    Setting(
        "SNOWFLAKE_ACCOUNT",
        "text",
        "The account identifier, `organization-account`, without `.snowflakecomputing.com`.",
        _DBT,
        "Snowflake",
    ),
    Setting("SNOWFLAKE_USER", "text", "The user whose public key is registered.", _DBT, "Snowflake"),
    Setting("SNOWFLAKE_ROLE", "text", "The role that builds.", _DBT, "Snowflake"),
    Setting("SNOWFLAKE_WAREHOUSE", "text", "The virtual warehouse that computes.", _DBT, "Snowflake"),
    Setting("SNOWFLAKE_DATABASE", "text", "The database that is built into.", _DBT, "Snowflake"),
    Setting(
        "SNOWFLAKE_PRIVATE_KEY_PEM",
        "text",
        "The private key as PEM text. Exactly one of the three key variables is set.",
        _DBT,
        "Snowflake",
        secret=True,
    ),
    Setting(
        "SNOWFLAKE_PRIVATE_KEY_B64",
        "text",
        "The private key as base64 of its PEM or DER, on one line.",
        _DBT,
        "Snowflake",
        secret=True,
    ),
    Setting("SNOWFLAKE_PRIVATE_KEY_PATH", "path", "The private key's file.", _DBT, "Snowflake"),
    Setting(
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
        "text",
        "The passphrase, when the private key is encrypted.",
        _DBT,
        "Snowflake",
        secret=True,
    ),
    Setting("SNOWFLAKE_HOST", "text", "Another host than Snowflake's own: the local Snowflake.", _DBT, "Snowflake"),
    Setting("SNOWFLAKE_PORT", "integer", "The port on that host.", _DBT, "Snowflake", minimum=1, maximum=65535),
    Setting(
        "SNOWFLAKE_PROTOCOL",
        "choice",
        "How that host is spoken to.",
        _DBT,
        "Snowflake",
        choices=("http", "https"),
    ),
    Setting(
        "POSTGRES_URL",
        "postgres_url",
        "The Postgres that a tenant with `services: [postgres]` or `warehouse: postgres` builds in.",
        _DBT,
        "Services of tenants",
        secret=True,
    ),
    Setting(
        "AWS_ACCESS_KEY_ID",
        "text",
        "The key id for S3 and DynamoDB, or for servers that speak their protocols.",
        _DBT,
        "Services of tenants",
    ),
    Setting(
        "AWS_SECRET_ACCESS_KEY", "text", "The secret that belongs to it.", _DBT, "Services of tenants", secret=True
    ),
    Setting("AWS_REGION", "text", "The region.", _DBT, "Services of tenants", default="us-east-1"),
    Setting(
        "AWS_ENDPOINT_URL_S3",
        "text",
        "An S3 server other than Amazon's, `http://host:port`.",
        _DBT,
        "Services of tenants",
    ),
    Setting(
        "AWS_ENDPOINT_URL_DYNAMODB",
        "text",
        "A DynamoDB server other than Amazon's, `http://host:port`.",
        _DBT,
        "Services of tenants",
    ),
    Setting(
        "DBT_CLOUD_TOKEN",
        "text",
        "The service token of a tenant with `warehouse: dbt_cloud`.",
        _DBT,
        "Services of tenants",
        secret=True,
    ),
    Setting(
        "DBT_CLOUD_ACCESS_URL",
        "text",
        "The address of its dbt Cloud account.",
        _DBT,
        "Services of tenants",
        default="https://cloud.getdbt.com",
    ),
    Setting(
        "DATABRICKS_SERVER_HOSTNAME",
        "text",
        "The workspace that `ingestion: {destination: databricks}` loads into, `dbc-….cloud.databricks.com`.",
        _DBT,
        "Services of tenants",
    ),
    Setting("DATABRICKS_HTTP_PATH", "text", "Its SQL warehouse, `/sql/1.0/warehouses/…`.", _DBT, "Services of tenants"),
    Setting("DATABRICKS_CATALOG", "text", "The catalog that is loaded into.", _DBT, "Services of tenants"),
    Setting("DATABRICKS_TOKEN", "text", "The access token.", _DBT, "Services of tenants", secret=True),
    Setting(
        "OPENLINEAGE_URL",
        "text",
        "Where OpenLineage events are sent, `http://host:port`. Unset: none are.",
        _DBT,
        "Lineage",
    ),
    Setting(
        "OPENLINEAGE_NAMESPACE",
        "text",
        "The namespace of jobs in OpenLineage; unset: the fork's name.",
        _DBT,
        "Lineage",
    ),
    Setting("OPENLINEAGE_API_KEY", "text", "The receiver's key.", _DBT, "Lineage", secret=True),
    Setting(
        "APOLLO_NOTIFY_SECONDS",
        "integer",
        "How often it is looked whether there is a failure to tell of, where `tenant.yaml` names somebody to tell.",
        ("code",),
        "Apollo",
        default=30,
        per_tenant=False,
        minimum=1,
        maximum=3600,
    ),
    Setting(
        "DAGSTER_HOME",
        "path",
        "Dagster's folder: SQLite storage (when there is no Postgres) and compute logs.",
        _ALL,
        "Dagster",
        default=".apollo/dagster",
        per_tenant=False,
    ),
    Setting(
        "DAGSTER_PG_URI",
        "postgres_url",
        "Dagster's database, `postgresql://user:password@host:port/name`. Unset: SQLite under DAGSTER_HOME.",
        _ALL,
        "Dagster",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "APOLLO_AUTOMATION_SECONDS",
        "integer",
        "How often a tenant's automation conditions are evaluated, at the most; the daemon looks every five seconds.",
        _DBT,
        "Dagster",
        default=30,
        minimum=1,
        maximum=86400,
    ),
    Setting(
        "APOLLO_STATE_DIR",
        "path",
        "Where manifests, DuckDB files and logs are kept on this machine.",
        _DBT,
        "Apollo",
        default=".apollo",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_TENANTS_DIR",
        "path",
        "The folder whose folders are the tenants.",
        _DBT,
        "Apollo",
        default="tenants",
        per_tenant=False,
    ),
    Setting(
        "PORT",
        "integer",
        "The port that is listened on.",
        ("webserver", "code"),
        "Serving",
        3000,
        False,
        False,
        (),
        1,
        65535,
    ),
    Setting(
        "APOLLO_BIND",
        "text",
        "The address that a process listens on. Anything but loopback is refused without a login.",
        ("webserver", "code"),
        "Serving",
        default="127.0.0.1",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_CONTAINER",
        "boolean",
        "Set by the image: a process in a container needs DAGSTER_PG_URI, and the webserver a login.",
        ("webserver", "daemon", "code"),
        "Serving",
        default=False,
        per_tenant=False,
    ),
    Setting(
        "APOLLO_CODE_HOST",
        "text",
        "Where the code host answers, `host:port`.",
        ("webserver", "daemon"),
        "Serving",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_CODE_TOKEN",
        "text",
        "What webserver and daemon show the code host, the same for the three, at least 32 characters.",
        ("webserver", "daemon", "code"),
        "Serving",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "APOLLO_IDLE_SECONDS",
        "integer",
        "After how long unused a tenant's processes on the code host are let go; the next use starts them again.",
        ("code",),
        "Serving",
        default=120,
        per_tenant=False,
        minimum=1,
        maximum=86400,
    ),
    Setting(
        "APOLLO_BAKED_DIR",
        "path",
        "Where the image holds the manifests that were made when it was built.",
        ("code",),
        "Serving",
        default="/opt/apollo/baked",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_RELEASE",
        "text",
        "What the image was built from, a commit: set by the image, shown by `/status`.",
        ("webserver", "daemon", "code"),
        "Serving",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_IMAGE",
        "text",
        "The image by digest, where the platform knows it: shown by `/status`.",
        ("webserver", "daemon", "code"),
        "Serving",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_DRAIN_SECONDS",
        "integer",
        "How long runs in flight may go on after the code host was told to end.",
        ("code",),
        "Serving",
        default=290,
        per_tenant=False,
        maximum=86400,
    ),
    Setting(
        "APOLLO_MAX_RUNS",
        "integer",
        "How many runs there may be at once. 0: as many as the code host has memory for.",
        ("code", "daemon"),
        "Serving",
        default=0,
        per_tenant=False,
        maximum=1000,
    ),
    Setting(
        "APOLLO_RUN_MEMORY_MB",
        "integer",
        "What a run is given of the code host's memory, its dbt included.",
        ("code", "daemon"),
        "Serving",
        default=500,
        per_tenant=False,
        minimum=50,
        maximum=1_000_000,
    ),
    Setting(
        "APOLLO_WAIT_SECONDS",
        "integer",
        "How long a process waits at its start for the database and its schema.",
        ("webserver", "daemon", "code"),
        "Serving",
        default=300,
        per_tenant=False,
        maximum=86400,
    ),
    Setting(
        "APOLLO_HEARTBEAT_SECONDS",
        "integer",
        "The age at which the daemon's heartbeats are stale, for `/status`; some come once a minute.",
        ("webserver",),
        "Serving",
        default=150,
        per_tenant=False,
        minimum=75,
        maximum=86400,
    ),
    Setting(
        "APOLLO_LOG_DAYS",
        "integer",
        "How many days what a run printed is kept in Postgres.",
        ("daemon",),
        "Serving",
        default=30,
        per_tenant=False,
        minimum=1,
        maximum=3650,
    ),
    Setting(
        "APOLLO_RECORD_DAYS",
        "integer",
        "How many days the records of finished runs are kept in Postgres; what is last of an asset or check, for ever.",
        ("daemon",),
        "Serving",
        default=90,
        per_tenant=False,
        minimum=1,
        maximum=3650,
    ),
    Setting(
        "APOLLO_PUBLIC_URL",
        "text",
        "The webserver's address as people type it, `https://data.example.com`. On Render: its own, unless set.",
        ("webserver", "code"),
        "Login",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_TRUSTED_PROXIES",
        "text",
        "Addresses or networks whose `X-Forwarded-For` and `-Proto` count, separated by commas. On Render: its own.",
        ("webserver",),
        "Login",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_SESSION_SECRET",
        "text",
        "What signs sessions, at least 32 characters. Another value ends every session.",
        ("webserver",),
        "Login",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "APOLLO_ACCESS",
        "text",
        "The text of the access file: users with hashed passwords, tokens. `apollo users add` writes it.",
        ("webserver",),
        "Login",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "APOLLO_ACCESS_PATH",
        "path",
        "The access file itself, where it can be mounted.",
        ("webserver", "cli"),
        "Login",
        default="access.yaml",
        per_tenant=False,
    ),
    Setting(
        "OIDC_ISSUER",
        "text",
        "The OpenID Connect provider, `https://accounts.google.com`.",
        ("webserver",),
        "Login",
        per_tenant=False,
    ),
    Setting("OIDC_CLIENT_ID", "text", "This application's id there.", ("webserver",), "Login", per_tenant=False),
    Setting(
        "OIDC_CLIENT_SECRET",
        "text",
        "This application's secret there.",
        ("webserver",),
        "Login",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "RENDER_API_KEY",
        "text",
        "Render's API key, for `apollo deploy` and `apollo secrets push`, and for runs as one-off jobs.",
        ("daemon", "cli"),
        "Deploy",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "RENDER_DEPLOY_HOOK_WEBSERVER",
        "text",
        "The webserver's deploy hook, a URL that holds a key.",
        ("cli",),
        "Deploy",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "RENDER_DEPLOY_HOOK_DAEMON",
        "text",
        "The daemon's deploy hook.",
        ("cli",),
        "Deploy",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "RENDER_DEPLOY_HOOK_CODE",
        "text",
        "The code host's deploy hook.",
        ("cli",),
        "Deploy",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "RENDER_API_URL",
        "text",
        "Render's API.",
        ("daemon", "cli"),
        "Deploy",
        default="https://api.render.com/v1",
        per_tenant=False,
    ),
    Setting(
        "KUBECONFIG",
        "path",
        "How the daemon reaches the cluster of runs with `run_on: kubernetes`; a daemon in that cluster has none.",
        ("daemon",),
        "Runs elsewhere",
        default="/etc/secrets/kubeconfig",
        per_tenant=False,
    ),
    Setting(
        "APOLLO_TOKEN",
        "text",
        "A token of `apollo tokens new`, with which a deploy asks `/status` whether it is well.",
        ("cli",),
        "Deploy",
        secret=True,
        per_tenant=False,
    ),
    Setting(
        "TENANTS",
        "text",
        "Serve these tenants only, separated by commas. Unset: all.",
        ("webserver", "daemon", "code", "cli"),
        "Apollo",
        per_tenant=False,
    ),
)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Values(Mapping[str, Value]):
    """The settings that one reader sees, typed; a secret does not show in `repr` or `str`.

    Attributes:
        sources: for each setting that is set, the variable that it came from: the plain name or the tenant's.
    """

    _values: Mapping[str, Value] = field(repr=False)
    sources: Mapping[str, str]

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __str__(self) -> str:
        return repr(self)

    def text(self, name: str) -> str | None:
        """A setting of kind text, choice, path or URL."""
        value = self._values[name]
        return None if value is None else str(value)

    def integer(self, name: str) -> int | None:
        """A setting of kind integer."""
        value = self._values[name]
        return None if value is None else int(value)

    @property
    def target(self) -> str:
        """The dbt target: `local`, `dev` or `prod`."""
        return str(self._values["DBT_TARGET"])

    def source(self, name: str, tenant: str | None = None) -> str:
        """The variable to name in a message: where the value came from, else where the tenant may set it."""
        return self.sources.get(name) or (f"{prefix(tenant)}{name}" if tenant and BY_NAME[name].per_tenant else name)


def prefix(tenant: str) -> str:
    """The prefix of a tenant's own variables: `dbt_williamgrant` → `DBT_WILLIAMGRANT__`."""
    return re.sub(r"[^A-Z0-9]", "_", tenant.upper()) + "__"


def colliding_prefixes(tenants: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of folders of which one would read variables that belong to the other."""
    ordered = sorted(tenants)
    return [
        (one, other)
        for index, one in enumerate(ordered)
        for other in ordered[index + 1 :]
        if prefix(one).startswith(prefix(other)) or prefix(other).startswith(prefix(one))
    ]


def read(environ: Mapping[str, str], tenant: str | None = None, fallback: Mapping[str, Value] | None = None) -> Values:
    """Read all settings as one tenant, or as nobody in particular, sees them.

    Args:
        environ: variables and their texts.
        tenant: the tenant whose prefixed variables override the shared ones.
        fallback: what the tenant's own `tenant.yaml` says, by setting; it yields to the tenant's variables and
            overrides the shared ones.

    Raises:
        SettingsError: with every variable that cannot be read.
    """
    values, sources, problems = _read(environ, tenant, fallback or {})
    if problems:
        raise SettingsError(problems)
    return Values(values, sources)


def shared_problems(environ: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the variables that all tenants share: enough to refuse a whole process."""
    return _read(environ, None, {})[2]


def _read(
    environ: Mapping[str, str], tenant: str | None, fallback: Mapping[str, Value]
) -> tuple[dict[str, Value], dict[str, str], list[Problem]]:
    raw: dict[str, tuple[str, str]] = {}
    for setting in SETTINGS:
        own = f"{prefix(tenant)}{setting.name}" if tenant and setting.per_tenant else None
        if own and environ.get(own, "").strip():
            raw[setting.name] = (own, environ[own])
        elif fallback.get(setting.name) is not None:
            raw[setting.name] = (f"tenants/{tenant}/tenant.yaml", str(fallback[setting.name]))
        elif environ.get(setting.name, "").strip():
            raw[setting.name] = (setting.name, environ[setting.name])

    values: dict[str, Value] = {}
    problems: list[Problem] = []
    if tenant and any(f"{prefix(tenant)}{name}" == raw.get(name, ("",))[0] for name in KEY_VARIABLES):
        # A tenant that brings a key of its own does not also use the shared one, whatever form that has.
        for name in (*KEY_VARIABLES, "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"):
            if raw.get(name, ("",))[0] == name:
                raw.pop(name)
    for setting in SETTINGS:  # DBT_TARGET is declared first: the other defaults depend on it
        if setting.name in raw:
            source, text = raw[setting.name]
            outcome = _parse(setting, source, text)
            if isinstance(outcome, Problem):
                problems.append(outcome)
                outcome = setting.default_for("local")
            values[setting.name] = outcome
        else:
            values[setting.name] = setting.default_for(str(values.get("DBT_TARGET", "local")))
    return values, {name: source for name, (source, _) in raw.items()}, problems


def _parse(setting: Setting, source: str, text: str) -> Value | Problem:
    # A value of several lines or of this length may be a key that was pasted into the wrong variable.
    shown = "its value" if setting.secret or "\n" in text.strip() or len(text) > 100 else repr(text)
    if not setting.secret:
        text = text.strip()
    match setting.kind:
        case "integer":
            if not re.fullmatch(r"[0-9]{1,10}", text) or not setting.minimum <= int(text) <= setting.maximum:
                span = f"from {setting.minimum} to {setting.maximum}"
                return Problem(source, f"{shown} is not a whole number {span}", "Give digits only.")
            return int(text)
        case "boolean":
            if text.lower() not in ("true", "false"):
                return Problem(source, f"{shown} is neither true nor false", "Write `true` or `false`.")
            return text.lower() == "true"
        case "choice":
            if text not in setting.choices:
                near = difflib.get_close_matches(text.lower(), setting.choices, 1)
                hint = f" Did you mean `{near[0]}`?" if near else ""
                known = ", ".join(setting.choices)
                return Problem(source, f"{shown} is not one of {known}", f"Set it to one of them.{hint}")
            return text
        case "postgres_url":
            return _parse_postgres_url(source, text)
        case _:
            # What the key variables hold is judged by `warehouse/keypair.py`: it understands a key in place of a path.
            if setting.name not in KEY_VARIABLES and not setting.secret and re.search(r"\{[{%#]|[\x00-\x1f]", text):
                return Problem(
                    source, f"{shown} holds a control character or a Jinja bracket", "Give the plain value, unquoted."
                )
            return text


def _parse_postgres_url(source: str, text: str) -> str | Problem:
    form = "Give `postgresql://user:password@host:port/name`, percent-encoding what is special in the password."
    try:
        url = urlsplit(text.strip())
        _ = url.port
    except ValueError:
        return Problem(source, "its value is not a URL: the port is not a number or a bracket is open", form)
    if "://" not in text:  # what stands before a colon may then be a user or a password
        return Problem(source, "its value is not a URL", form)
    if url.scheme.split("+")[0] not in ("postgresql", "postgres"):
        return Problem(source, f"its scheme is `{url.scheme}`, not `postgresql`", form)
    if not url.path.strip("/"):
        return Problem(source, "it names no database", form)
    if url.netloc.count("@") > 1 or re.search(r"(^|&)(password|passfile|sslpassword)=", url.query):
        return Problem(source, "its password stands where it cannot be told from the rest", form)
    # SQLAlchemy 2.1 reads a bare scheme as psycopg 3, and none reads `postgres://`: name the driver that is installed.
    return f"postgresql+psycopg2://{text.strip().partition('://')[2]}"


def suspicious_variables(environ: Mapping[str, str], tenants: Iterable[str]) -> list[Problem]:
    """Variables that look like settings but are none: a misspelt name, a prefix that no folder has."""
    known_prefixes = {prefix(tenant) for tenant in tenants}
    problems = []
    for name in sorted(environ):
        head, separator, rest = name.partition("__")
        if head and separator and f"{head}__" not in known_prefixes:
            near = difflib.get_close_matches(f"{head.upper()}__", known_prefixes, 1, 0.8)
            hint = f"Did you mean `{near[0]}{rest}`?" if near else "Remove it, or add the tenant's folder."
            problems.append(Problem(name, "no tenant has this prefix, so no process is given it", hint, "warning"))
        elif separator and rest in BY_NAME and not BY_NAME[rest].per_tenant:
            problems.append(Problem(name, f"{rest} cannot differ by tenant", f"Set {rest} itself.", "warning"))
        bare = rest if f"{head}__" in known_prefixes else name
        if bare.startswith(("SNOWFLAKE_", "APOLLO_", "DAGSTER_PG")) and bare not in BY_NAME:
            near = difflib.get_close_matches(bare, BY_NAME, 1, 0.8)
            hint = f"Did you mean {near[0]}?" if near else "Remove it, or see docs/settings.md for what is read."
            problems.append(Problem(name, "nothing reads this variable", hint, "warning"))
    return problems
