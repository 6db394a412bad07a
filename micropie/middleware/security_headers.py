"""Security headers for browsers. They never replace a header that a handler has set.

The defaults suit any site. Content-Security-Policy has no default, because it depends on the site's
pages.
"""

from __future__ import annotations

import secrets

from micropie._core.errors import FLAG, ResponseError, SetupError, check, check_each, is_count
from micropie._core.http import Request, Response, check_value
from micropie._core.http.headers import add_missing
from micropie.middleware.base import FlowMiddleware, call_at_start

YEAR = 365 * 24 * 3600  # seconds

_FRAMES = ("DENY", "SAMEORIGIN")
_OPENERS = (
    "same-origin",
    "same-origin-allow-popups",
    "noopener-allow-popups",
    "unsafe-none",
)
_REFERRERS = (
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)
_NONCE = "{nonce}"


class SecurityHeaders(FlowMiddleware):
    """Send security headers with every response:
    ``app.middlewares.append(SecurityHeaders(csp="default-src 'self'"))``.

    - ``hsts``: Strict-Transport-Security, the number of seconds for which browsers must use https
      (RFC 6797). The header is sent over https only. 0 tells browsers to forget an earlier number.
    - ``hsts_subdomains``: whether browsers must use https for the subdomains, too.
    - ``csp``: Content-Security-Policy; ``'nonce-{nonce}'`` in it becomes a new nonce for each
      request, available as ``request.state.csp_nonce``.
    - ``frame``: X-Frame-Options.
    - ``referrer``: Referrer-Policy.
    - ``opener``: Cross-Origin-Opener-Policy.
    - ``permissions``: Permissions-Policy.

    If an argument is None, its header isn't sent. ``X-Content-Type-Options: nosniff`` is always
    sent. Raises ``SetupError`` for a value that browsers would not understand.
    """

    def __init__(
        self,
        *,
        hsts: int | None = YEAR,
        hsts_subdomains: bool = False,
        csp: str | None = None,
        frame: str | None = "DENY",
        referrer: str | None = "strict-origin-when-cross-origin",
        opener: str | None = "same-origin",
        permissions: str | None = None,
    ) -> None:
        named = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": _one_of("frame", frame, _FRAMES),
            "Referrer-Policy": _one_of("referrer", referrer, _REFERRERS),
            "Cross-Origin-Opener-Policy": _one_of("opener", opener, _OPENERS),
            "Permissions-Policy": _text("permissions", permissions),
        }
        self._always = {name: value for name, value in named.items() if value is not None}
        check(
            "hsts",
            hsts is None or is_count(hsts, least=0),
            hsts,
            f"a number of seconds such as {YEAR}, or None",
        )
        check_each("SecurityHeaders", *FLAG, hsts_subdomains=hsts_subdomains)
        self.hsts = hsts
        self._hsts = f"max-age={hsts}" + ("; includeSubDomains" if hsts_subdomains else "")
        self._csp = _text("csp", csp) or ""
        if _NONCE in self._csp.replace("'nonce-{nonce}'", ""):
            raise SetupError("csp: put the nonce in quotes, as in script-src 'nonce-{nonce}'")

    def before(self, request: Request) -> None:
        """Create the nonce for templates."""
        if _NONCE in self._csp:
            # 128 bits, as CSP level 3, section 7.1, recommends.
            request.state.csp_nonce = secrets.token_urlsafe(16)

    def after(self, request: Request, response: Response) -> None:
        """Add the headers that the response doesn't have yet."""
        headers, policy = dict(self._always), self._csp
        if _NONCE in policy:
            # There is no nonce if outer middleware sent the response before ``before`` was called.
            if "csp_nonce" not in request.state:
                self.before(request)
            policy = policy.replace(_NONCE, request.state.csp_nonce)
        # After a 304, a browser shows its copy of the page, whose scripts have an older nonce.
        if policy and not (response.status == 304 and "csp_nonce" in request.state):
            headers["Content-Security-Policy"] = policy
        if self.hsts is not None and request.scheme == "https":
            headers["Strict-Transport-Security"] = self._hsts

        def add(response: Response) -> None:
            add_missing(response.pairs, headers.items())

        call_at_start(request, response, add)


def _one_of(argument: str, value: str | None, known: tuple[str, ...]) -> str | None:
    check(
        argument,
        value is None or value in known,
        value,
        f"one of {', '.join(known)}, or None for no such header",
    )
    return value


def _text(argument: str, value: str | None) -> str | None:
    """Return ``value`` on one line, because a long policy may be written on several lines."""
    if value is None:
        return None
    check(argument, isinstance(value, str), value, "a string")
    try:
        return check_value(argument, " ".join(value.split()))
    except ResponseError as error:
        raise SetupError(f"{argument}: {error}") from None
