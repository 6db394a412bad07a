"""Protection against cross-site request forgery: another site's page makes a browser send a request
with its cookies.

Two headers report the site that a request comes from: ``Sec-Fetch-Site``
(https://www.w3.org/TR/fetch-metadata/), which browsers send only over https and to localhost, and
``Origin``. A request with neither header must contain the session's token, which other sites can't
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from micropie._core.errors import HTTPError, Sentence, check, logger, refuse_text
from micropie._core.execution.steps import Flow
from micropie._core.http import CSRF_FIELD, Request, find_field
from micropie._core.http.addresses import checked_origins, normal_origin
from micropie._core.http.csrf import is_csrf_token
from micropie.middleware.base import FlowMiddleware

# Methods that change nothing (RFC 9110, section 9.2.1).
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# Authentication schemes that a browser sends automatically once the user has logged in. Other
# schemes are sent only by scripts.
_ADDED_BY_BROWSERS = frozenset({"basic", "digest", "negotiate", "ntlm"})
# Authentication schemes for tokens. Forms can't send them. Other sites' scripts can send them only
# with CORS permission.
_TOKENS = frozenset({"bearer", "dpop", "token"})


# Matches what other frameworks and routes have in place of a segment. As a text, it would exempt no
# path.
_WILDCARD = re.compile(r"[*<{?]")


class CSRFMiddleware(FlowMiddleware):
    """Reject requests with a 403 if another site made the browser send them:
    ``app.middlewares.append(CSRFMiddleware())``.

    - ``trusted_origins``: other sites that may send forms here, such as
      ``"https://accounts.example.com"``, or ``"https://*.example.com"`` for the subdomains, which
      count as other sites.
    - ``exempt``: paths whose handlers authenticate the sender by other means, for example by a
      webhook's signature. All paths under them are exempt as well. A path is that of
      ``request.path``: with the prefix of an inner application, such as ``"/shop/hooks"``, unless
      this is mounted with ``isolated=True``.

    A request with neither ``Sec-Fetch-Site`` nor ``Origin`` needs the token that ``csrf_token``
    returns, in the header ``X-CSRF-Token`` or in the form field ``csrf_token``. If such a request
    has no cookie, and no ``Authorization`` that browsers send automatically, it acts for no user
    and needs no token. It also needs none if the scheme of its ``Authorization`` is ``Bearer``,
    ``DPoP`` or ``Token``, because browsers never send these on their own. Raises ``SetupError`` for
    a malformed origin or path.
    """

    def __init__(self, *, trusted_origins: Iterable[str] = (), exempt: Iterable[str] = ()) -> None:
        self._trusted = checked_origins(trusted_origins, "trusted_origins")
        refuse_text("exempt", exempt)
        self._exempt = [_segments(path) for path in exempt]

    def before(self, request: Request) -> Flow[None] | None:
        """Raise 403 for a request that may be forged."""
        if request.method in _SAFE:
            return None
        if self._exempt:
            # Compare segments, as the router does: "/hooks%2F..%2Fpay" is not under "/hooks".
            segments = request._exchange.segments()
            if any(segments[: len(path)] == path for path in self._exempt):
                return None
        headers = request.headers
        # Ignore a value that is not in the specification (fetch metadata, section 2.3).
        site = headers.get("sec-fetch-site", "")
        # "none": started by the user, for example from a bookmark
        if site in ("same-origin", "none"):
            return None
        origin = headers.get("origin")
        is_foreign = site in ("same-site", "cross-site")
        if is_foreign or origin is not None:
            own = normal_origin(f"{request.scheme}://{request.host}")
            normal = normal_origin(origin or "")
            if not normal or ((is_foreign or normal != own) and normal not in self._trusted):
                # Show this site's origin in the message: a wrong origin reveals that a TLS proxy is
                # misconfigured.
                raise HTTPError(
                    403,
                    Sentence("This request came from a different site, not from {site}.", site=own),
                )
            return None
        # A request without a cookie and without an Authorization that browsers send automatically
        # acts for no user. Don't use ``request.headers``, which would record that the response
        # depends on the header.
        authorization = request._exchange.header("authorization") or ""
        scheme = authorization.partition(" ")[0].lower()
        if scheme not in _TOKENS and (headers.get("cookie") or scheme in _ADDED_BY_BROWSERS):
            return _check_token(request)
        return None


def _check_token(request: Request) -> Flow[None]:
    token = request.headers.get("x-csrf-token")
    if token is None:
        token = yield from find_field(request._exchange, CSRF_FIELD)
    yield from request._exchange.open_session()
    if not token:
        logger.warning(
            "%s: the request was refused, because it has a cookie or log-in credentials but no "
            "CSRF token. Write {{ csrf_input }} in the form, or send csrf_token(request) in the "
            "header X-CSRF-Token",
            request._exchange.label,
        )
        raise HTTPError(
            403,
            "This form has no security token. Please load its page again and send it once more.",
        )
    if not is_csrf_token(request, token):
        raise HTTPError(
            403, "This form has expired. Please load its page again and send it once more."
        )


def _segments(path: object) -> list[str]:
    segments = path.strip("/").split("/") if isinstance(path, str) and path.startswith("/") else []
    expected = (
        'paths such as "/hooks/payments", without wildcards, because all paths under them are '
        "exempt (to exempt every path, leave CSRFMiddleware out)"
    )
    fine = segments != [] and not any(one == "" or _WILDCARD.search(one) for one in segments)
    check("exempt", fine, path, expected)
    return segments
