"""From what an identity provider says of somebody to a user: the login rules of `apollo.toml`, applied.

The rules are declared and checked in `fork.py`; what a provider's claims amount to is `claims.py`. They are applied at
every request, so that a rule that is gone is gone for people who are logged in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dagster_apollo.access.users import User
from dagster_apollo.fork import LoginRules, Rule


@dataclass(frozen=True)
class Identity:
    """Somebody as a provider vouches for them.

    Attributes:
        name: how they are shown and audited: the e-mail address, else what the provider alone assigns.
        email: the address, when it may be relied on; in lower case.
        domain: the organization's domain, when the provider vouches that they are a member of it; in lower case.
        groups: their groups, as the provider names them.
    """

    name: str
    email: str | None = None
    domain: str | None = None
    groups: tuple[str, ...] = ()


def user_of(name: str, rule: Rule) -> User:
    """The user that a rule, or an entry of the access file, makes of a name."""
    return User(name, rule.role, None if rule.tenants is None else frozenset(rule.tenants), rule.confined)


def user_by_rules(identity: Identity, rules: LoginRules) -> User | None:
    """What somebody is here; None: nobody.

    The e-mail address decides before a group, a group before the domain; of several groups the first in `apollo.toml`.
    """
    rule = _of(rules.emails, [identity.email]) or _first(rules.groups, identity.groups)
    rule = rule or _of(rules.domains, [identity.domain])
    return user_of(identity.name, rule) if rule else None


def groups_that_matter(groups: Iterable[str], rules: LoginRules) -> tuple[str, ...]:
    """Those groups that a rule names: the others need not be kept in a cookie."""
    known = set(groups)
    return tuple(group for group in rules.groups if group in known)


def _of(rules: Mapping[str, Rule], keys: Iterable[str | None]) -> Rule | None:
    wanted = {key.casefold() for key in keys if key}
    return next((rule for key, rule in rules.items() if key.casefold() in wanted), None)


def _first(rules: Mapping[str, Rule], groups: Iterable[str]) -> Rule | None:
    known = set(groups)  # exactly as the provider writes them: two groups may differ in case alone
    return next((rule for key, rule in rules.items() if key in known), None)
