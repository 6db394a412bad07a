"""Keeps other sites from acting in a user's name: their page has the browser send a request, with the user's cookies.

Browsers say where a request comes from, in ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/, sent over
https and to localhost) and in ``Origin`` (all that there is over plain http). One that says neither must show the
token of its session, which other sites can't read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from micropie.csrf import FIELD, is_csrf_token
from micropie.errors import HTTPError, SetupError
from micropie.execution.steps import Flow
from micropie.http.forms.receiving import receive_form
from micropie.http.origins import checked_origins, normal_origin
from micropie.http.request import Request
from micropie.middleware.base import FlowMiddleware

# RFC 9110, section 9.2.1: they ask for nothing to be changed.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# What a browser adds by itself once the user has logged in; everything else is added by a script.
_ADDED_BY_BROWSERS: Final = frozenset({"basic", "digest", "negotiate", "ntlm"})


class CSRFMiddleware(FlowMiddleware):
    """Refuses, with 403, what another site made a browser send: ``app.middlewares.append(CSRFMiddleware())``.

    ``trusted_origins``: other sites that may send forms here, such as ``"https://accounts.example.com"``; a site's
    own subdomains are others. ``exempt``: paths below the application's mount that prove by other means who sent
    them, such as a webhook with a signature; what is below them is exempt as well.

    A request with neither ``Sec-Fetch-Site`` nor ``Origin`` needs the token of ``micropie.csrf.csrf_token``, as
    ``X-CSRF-Token`` or as a form's field ``csrf_token`` (the header alone for a handler with ``@reads_body``). It
    passes if it has no cookie and no log-in that a browser adds by itself: there is no user to act for. Raises
    ``SetupError`` for an origin or a path that is none.
    """

    def __init__(self, *, trusted_origins: Iterable[str] = (), exempt: Iterable[str] = ()) -> None:
        self._trusted = checked_origins(trusted_origins, "trusted_origins")
        self._exempt = _checked_paths(exempt)

    def before(self, request: Request) -> Flow[None] | None:
        """Raises 403 for what may be forged."""
        if request.method in _SAFE or self._is_exempt(request):
            return None
        site = request.headers.get("sec-fetch-site", "")  # any other value counts as none: its section 2.3
        if site in ("same-origin", "none"):  # "none": the user's own doing, a bookmark for example
            return None
        origin = request.headers.get("origin")
        if site in ("same-site", "cross-site"):
            self._check_origin(origin or "", None, request)
        elif origin is not None:
            self._check_origin(origin, _own_origin(request), request)
        elif _acts_for_a_user(request):
            return _check_token(request)
        return None

    def _is_exempt(self, request: Request) -> bool:
        if not self._exempt:
            return False
        segments = request.segments()  # as the router sees them: "/hooks%2F..%2Fpay" is no hook
        return any(segments[: len(path)] == path for path in self._exempt)

    def _check_origin(self, origin: str, own: str | None, request: Request) -> None:
        normal = normal_origin(origin)
        if not normal or (normal != own and normal not in self._trusted):
            # Says what this site is taken for: behind a proxy that ends TLS that may be the mistake.
            raise HTTPError(403, f"This request was made by another site than {_own_origin(request)}.")


def _check_token(request: Request) -> Flow[None]:
    token = request.headers.get("x-csrf-token")
    if token is None:
        yield from receive_form(request)
        token = (request.form_fields or {}).get(FIELD, [""])[0]
    if not is_csrf_token(request, token):
        raise HTTPError(403, "This form is out of date; please load its page again and send it once more.")


def _own_origin(request: Request) -> str:
    return normal_origin(f"{request.scheme}://{request.host}")


def _acts_for_a_user(request: Request) -> bool:
    if request.headers.get("cookie"):
        return True
    return request.headers.get("authorization", "").partition(" ")[0].lower() in _ADDED_BY_BROWSERS


def _checked_paths(paths: Iterable[str]) -> list[list[str]]:
    if isinstance(paths, str):
        raise SetupError(f'exempt is a list: write exempt=["{paths}"]')
    return [_checked_path(path) for path in paths]


def _checked_path(path: object) -> list[str]:
    segments = path.strip("/").split("/") if isinstance(path, str) and path.startswith("/") else []
    if "" in segments or not segments:
        raise SetupError(
            f'exempt takes paths such as "/hooks/payments", not {path!r}; to check nothing, leave CSRFMiddleware out'
        )
    return segments
