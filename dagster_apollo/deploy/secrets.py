"""What tenants need to know, brought into Render's environment group: what that is, what would change, and the change.

A tenant's variables are read from this machine's environment as its process would read them, and refused here when its
key could not be used there. No value is shown; a fingerprint tells two values of one name apart, and no more.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dagster_apollo.deploy.render_api import RenderApi
from dagster_apollo.deploy.resources import EnvGroup, Service
from dagster_apollo.errors import DeployError, Problem, ProblemsError, RenderError, SettingsError
from dagster_apollo.fork import Fork
from dagster_apollo.settings import KEY_VARIABLES, SETTINGS, Values, prefix, read
from dagster_apollo.tenant import Tenant, load_tenant, tenant_names
from dagster_apollo.topology import tenants_group
from dagster_apollo.warehouse.keypair import PrivateKey
from dagster_apollo.warehouse.profiles import snowflake_key

_SHARED = tuple(setting.name for setting in SETTINGS if setting.group == "Snowflake")
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104  compared with, not bound to
_PATH, _B64, _PASSPHRASE = "SNOWFLAKE_PRIVATE_KEY_PATH", "SNOWFLAKE_PRIVATE_KEY_B64", "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"

Fate = Literal["new", "changed", "same", "removed", "left"]


@dataclass(frozen=True)
class Needs:
    """What the chosen tenants need.

    Attributes:
        variables: names and values.
        tenants: the chosen ones.
        everyone: whether these are all tenants, so that a variable of none of them is nobody's.
        keys: for each tenant on Snowflake, its key's public fingerprint as Snowflake shows it.
        notes: what is worth a warning.
    """

    variables: Mapping[str, str] = field(repr=False)
    tenants: tuple[str, ...]
    everyone: bool
    keys: Mapping[str, str]
    notes: tuple[Problem, ...]


@dataclass(frozen=True)
class Change:
    """What a push does to one variable.

    Attributes:
        fate: `left` is in the group and not among what is pushed.
        fingerprint: of the value that it then has; empty where it is removed.
    """

    name: str
    fate: Fate
    fingerprint: str


@dataclass(frozen=True)
class Push:
    """A push that was thought through and not done yet.

    Attributes:
        group: the group as it is; None: it is still to be made.
        changes: by name.
        is_linked: whether the code host is given the group's variables.
    """

    group_name: str
    group: EnvGroup | None
    code: Service
    needs: Needs
    changes: tuple[Change, ...]
    is_linked: bool

    @property
    def changes_anything(self) -> bool:
        return not self.is_linked or any(change.fate in ("new", "changed", "removed") for change in self.changes)


def needs_of(environ: Mapping[str, str], tenants_dir: Path, names: Sequence[str]) -> Needs:
    """What tenants need in production.

    Raises:
        DeployError: with everything that would keep them from working there.
    """
    variables: dict[str, str] = {}
    keys: dict[str, str] = {}
    problems: list[Problem] = []
    notes: list[Problem] = []
    for name in names:
        try:
            tenant = load_tenant(tenants_dir, name)
            values = read({**environ, "DBT_TARGET": "prod"}, name, tenant.connection_settings())
        except ProblemsError as error:
            problems += error.problems
            continue
        own = {key: text for key, text in environ.items() if key.startswith(prefix(name)) and text.strip()}
        variables |= own
        if tenant.config.warehouse == "snowflake" and values.target != "local":
            key, found = snowflake_key(tenant, values)
            problems += [*found, *_only_here(tenant, values)]
            variables |= {shared: environ[shared] for shared in _SHARED if values.sources.get(shared) == shared}
            if key:
                keys[name] = key.fingerprint
                notes += key.notes
                _carry_key(variables, values, key)
    if problems:
        raise DeployError(dict.fromkeys(problems), "these variables would not work in production; nothing was pushed")
    everyone = set(names) == set(tenant_names(tenants_dir))
    return Needs(variables, tuple(names), everyone, keys, tuple(dict.fromkeys(notes)))


def _only_here(tenant: Tenant, values: Values) -> list[Problem]:
    """What is right on this machine and nowhere else."""
    if values.text("SNOWFLAKE_HOST") not in _THIS_MACHINE:
        return []
    where = values.source("SNOWFLAKE_HOST", tenant.name)
    return [Problem(where, "names this machine, where the local Snowflake is", "Unset it for the push.")]


def _carry_key(variables: dict[str, str], values: Values, key: PrivateKey) -> None:
    """A key that is a file here is carried as text, and opened: beside it its passphrase would protect nothing."""
    source = values.sources.get(_PATH)
    if source is None:
        return
    scope = source.removesuffix(_PATH)
    for name in (_PATH, _PASSPHRASE):
        variables.pop(f"{scope}{name}", None)
    variables[f"{scope}{_B64}"] = key.der_base64()


# ---- What would change. ----


def plan_push(api: RenderApi, fork: Fork, code: Service, needs: Needs, *, key: str, prune: bool) -> Push:
    """Compare what tenants need with what the group holds.

    Args:
        key: what fingerprints are made with, the API key: who does not have it cannot try out guesses on them.
        prune: remove what nobody chosen needs any more.

    Raises:
        DeployError: the group gives tenants' secrets to another service, or two keys would be set for one scope.
        RenderError: the group cannot be read.
    """
    name = tenants_group(fork)
    listed = [group for group in api.env_groups(name) if group.owner_id == code.owner_id]
    group = api.env_group(listed[0].id) if listed else None
    there = {variable.key: variable.value for variable in group.env_vars} if group else {}
    links = group.service_links if group else ()
    problems = [
        Problem(name, f"is linked to {link.name}, which must not know tenants' secrets", "Unlink it in the dashboard.")
        for link in links
        if link.id != code.id
    ]
    changes = []
    for variable in sorted(there.keys() | needs.variables.keys()):
        value = needs.variables.get(variable)
        if value is None:
            fate: Fate = "removed" if prune and _may_go(variable, needs) else "left"
        else:
            fate = "new" if variable not in there else "same" if there[variable] == value else "changed"
        shown = there[variable] if value is None else value
        print_ = "" if fate == "removed" else fingerprint(key, variable, shown)
        changes.append(Change(variable, fate, print_))
    problems += _two_keys([change.name for change in changes if change.fate != "removed"])
    if problems:
        raise DeployError(problems)
    return Push(name, group, code, needs, tuple(changes), any(link.id == code.id for link in links))


def fingerprint(key: str, name: str, value: str) -> str:
    """What tells two values of one variable apart.

    A plain hash would let anybody who reads a log try out weak passwords on it, so it is keyed; the name is in it, so
    that two variables of one value do not show as such.
    """
    return hmac.new(key.encode(), f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()[:10]


def _may_go(variable: str, needs: Needs) -> bool:
    if needs.everyone:  # what belongs to nobody in particular is the Blueprint's
        return "__" in variable or variable in _SHARED
    return any(variable.startswith(prefix(tenant)) for tenant in needs.tenants)


def _two_keys(names: Sequence[str]) -> list[Problem]:
    scopes: dict[str, list[str]] = {}
    for name in names:
        for variable in KEY_VARIABLES:
            if name == variable or name.endswith(f"__{variable}"):
                scopes.setdefault(name.removesuffix(variable), []).append(name)
    remedy = "Set the same one here as there, or remove the other with --prune."
    return [
        Problem(" and ".join(several), "would both hold a key, and exactly one may", remedy)
        for several in scopes.values()
        if len(several) > 1
    ]


# ---- The change. ----


def carry_out(api: RenderApi, push: Push) -> None:
    """Change the group, one variable after the other: the call that sets several replaces all that there are.

    Raises:
        DeployError: Render refused; what is done and what is not is said.
    """
    try:
        _change_group(api, push)
    except RenderError as error:
        remedy = "No service was deployed, so none has them yet: push again."
        half = Problem(push.group_name, "may hold some of the new values and not others", remedy)
        problems = (*error.problems, half)
    else:
        return
    raise DeployError(problems)


def _change_group(api: RenderApi, push: Push) -> None:
    if push.group is None:
        api.create_env_group(push.group_name, push.code.owner_id, push.needs.variables, [push.code.id])
        return
    for change in push.changes:
        if change.fate in ("new", "changed"):
            api.set_variable(push.group.id, change.name, push.needs.variables[change.name])
        elif change.fate == "removed":
            api.remove_variable(push.group.id, change.name)
    if not push.is_linked:
        api.link(push.group.id, push.code.id)


def wanted_names(tenants_dir: Path, chosen: Sequence[str] | None) -> list[str]:
    """The tenants that a push is about.

    Raises:
        SettingsError: there are none.
    """
    names = list(chosen) if chosen else tenant_names(tenants_dir)
    if not names:
        raise SettingsError([Problem("tenants/", "holds no tenant", "Add one: `apollo tenant new NAME`.")])
    return names


def is_stale(api: RenderApi, push: Push) -> bool:
    """Whether the group was changed after the code host's live deploy, as by a push whose deploy then failed."""
    live = next(iter(api.deploys(push.code.id, status="live", limit=1)), None)
    changed = push.group.updated_at if push.group else None
    if live is None or live.created_at is None or changed is None:
        return False
    return live.trigger == "rollback" or changed > live.created_at  # a rollback has the variables of what it is of
