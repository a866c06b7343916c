"""What every answer says to a browser beyond its content: security headers and cookies.

Our own pages get a policy of their own; Dagster's get what they lack, and keep what they say.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

# Of our pages: one stylesheet, forms that post to us, nothing else. Not `form-action`'s default: it would be anywhere.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # Dagster shows notebooks in frames of its own.
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # What is behind a login is not for caches that others share.
    "Cache-Control": "private",
}
_YEAR_SECONDS = 31_536_000


def add_security(headers: MutableHeaders, *, is_https: bool) -> None:
    """Add what an answer does not say yet."""
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    policy = headers.get("Content-Security-Policy")
    if policy is None:
        headers["Content-Security-Policy"] = "frame-ancestors 'self'"
    elif "frame-ancestors" not in policy:
        headers["Content-Security-Policy"] = f"{policy.rstrip('; ')}; frame-ancestors 'self'"
    if is_https:
        headers.setdefault("Strict-Transport-Security", f"max-age={_YEAR_SECONDS}")


def cookie_name(purpose: str, *, is_https: bool) -> str:
    """A cookie's name; over https with the prefix that no other host of the domain can set (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-apollo_{purpose}" if is_https else f"apollo_{purpose}"


def set_cookie(response: Response, purpose: str, value: str, seconds: int | None, *, is_https: bool) -> None:
    """Set a cookie that scripts do not see and other sites' pages do not send.

    `SameSite=Lax`, not `Strict`: who comes back from a provider, or follows a link in a message, is logged in.
    """
    response.set_cookie(
        cookie_name(purpose, is_https=is_https),
        value,
        max_age=seconds,
        path="/",
        secure=is_https,
        httponly=True,
        samesite="lax",
    )


def drop_cookie(response: Response, purpose: str, *, is_https: bool) -> None:
    """Have the browser forget a cookie."""
    set_cookie(response, purpose, "", 0, is_https=is_https)
