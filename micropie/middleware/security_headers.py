"""Headers that tell browsers to be careful with a site's pages. What a handler set itself always counts.

The defaults suit any site. Content-Security-Policy has none, as it has to know the pages.
"""

from __future__ import annotations

import secrets
from typing import Final

from micropie.errors import ResponseError, SetupError, is_count
from micropie.http.request import Request
from micropie.http.response import Response, check_value
from micropie.middleware.base import FlowMiddleware

YEAR: Final = 365 * 24 * 3600  # seconds

_FRAMES: Final = ("DENY", "SAMEORIGIN")
_OPENERS: Final = ("same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none")
_REFERRERS: Final = (
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)
_NONCE: Final = "{nonce}"
_SOURCE: Final = "'nonce-{nonce}'"


class SecurityHeaders(FlowMiddleware):
    """Sends them with every answer: ``app.middlewares.append(SecurityHeaders(csp="default-src 'self'"))``.

    ``hsts``: seconds for which browsers are to come by https alone, said over https (RFC 6797); 0 takes it back, None
    says nothing; ``hsts_subdomains``: its subdomains too. ``csp``: Content-Security-Policy; ``'nonce-{nonce}'`` in it
    becomes a new nonce for each request, which is ``request.state.csp_nonce``. ``frame``: X-Frame-Options.
    ``referrer``: Referrer-Policy. ``opener``: Cross-Origin-Opener-Policy. ``permissions``: Permissions-Policy. None
    leaves a header out. ``X-Content-Type-Options: nosniff`` is always there. Raises ``SetupError`` for a value that
    browsers would not understand.
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
        self._hsts = _hsts(hsts, hsts_subdomains)
        self._csp = _policy(csp)
        self._has_nonce = self._csp is not None and _NONCE in self._csp

    def before(self, request: Request) -> None:
        """Makes the nonce that templates show."""
        if self._has_nonce:
            request.state.csp_nonce = _new_nonce()

    def after(self, request: Request, response: Response) -> None:
        """Adds what is not there."""
        headers = dict(self._always)
        if self._csp is not None:
            headers["Content-Security-Policy"] = self._policy_for(request)
        if self._hsts is not None and request.scheme == "https":
            headers["Strict-Transport-Security"] = self._hsts
        present = {name.lower() for name in response.headers}
        response.headers.pairs += [pair for pair in headers.items() if pair[0].lower() not in present]

    def _policy_for(self, request: Request) -> str:
        policy = self._csp or ""
        if not self._has_nonce:
            return policy
        # An answer of a middleware around this one has none: no page was made, so any will do.
        nonce = request.state.csp_nonce if "csp_nonce" in request.state else _new_nonce()
        return policy.replace(_NONCE, nonce)


def _new_nonce() -> str:
    return secrets.token_urlsafe(16)  # 128 bits, as CSP level 3, section 7.1, asks for


def _hsts(seconds: int | None, subdomains: bool) -> str | None:
    if seconds is None:
        return None
    if not is_count(seconds, least=0):
        raise SetupError(f"hsts is a whole number of seconds such as {YEAR}, or None: not {seconds!r}")
    return f"max-age={seconds}" + ("; includeSubDomains" if subdomains else "")


def _policy(policy: str | None) -> str | None:
    checked = _text("csp", policy)
    if checked is not None and _NONCE in checked.replace(_SOURCE, ""):
        raise SetupError("csp: write the nonce as a source, in quotes: script-src 'nonce-{nonce}'")
    return checked


def _one_of(argument: str, value: str | None, known: tuple[str, ...]) -> str | None:
    if value is not None and value not in known:
        raise SetupError(f"{argument} is one of {', '.join(known)}, or None for no such header: not {value!r}")
    return value


def _text(argument: str, value: str | None) -> str | None:
    """``value`` on one line: a long policy may be written on several."""
    if value is None:
        return None
    try:
        return check_value(argument, " ".join(value.split()) if isinstance(value, str) else value)
    except ResponseError as error:
        raise SetupError(f"{argument}: {error}") from None
