"""A user as the rest of the webserver knows one: a name, a role, the tenants that the role is about.

How a user proves to be one is `login.py`; what a role allows inside Dagster is `scope.py`. The login puts a `User` into
`scope["user"]` of every HTTP request and WebSocket; nothing else is asked who is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "operator", "administrator"]


@dataclass(frozen=True)
class User:
    """Who asks.

    Attributes:
        name: the e-mail address, the name in the access file, or a token's name.
        role: `viewer` sees; `operator` also launches, stops and changes; `administrator` may do everything.
        tenants: the tenants that an operator operates and that a confined user sees; None: all.
        confined: whether nothing is seen of any other tenant.
    """

    name: str
    role: Role
    tenants: frozenset[str] | None = None
    confined: bool = False

    @property
    def readable(self) -> frozenset[str] | None:
        """The tenants that this user sees; None: all."""
        return (self.tenants or frozenset()) if self.confined else None

    @property
    def is_administrator(self) -> bool:
        return self.role == "administrator"

    def may_operate(self, tenant: str) -> bool:
        """Whether this user may launch, stop and change what belongs to a tenant."""
        if self.role == "viewer":
            return False
        return self.role == "administrator" or self.tenants is None or tenant in self.tenants
