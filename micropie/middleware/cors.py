"""Cross-origin resource sharing: which other sites' scripts may read the responses
(https://fetch.spec.whatwg.org/#http-cors-protocol).

CORS only decides what a browser shows to a script. A browser sends another site's form without a
preflight, so protection against forged requests needs ``CSRFMiddleware``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Never

from micropie._core.errors import (
    FLAG,
    SetupError,
    check,
    check_each,
    is_count,
    refuse_others,
    refuse_text,
)
from micropie._core.http import TOKEN, Request, Response
from micropie._core.http.addresses import checked_origins, normal_origin
from micropie._core.http.headers import add_vary
from micropie._core.http.protocols import HeaderPairs, Texts
from micropie._core.http.settings import METHODS as ALL
from micropie._core.routing import checked_methods
from micropie.middleware.base import FlowMiddleware

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# Scripts may always send these headers. Browsers send them without a preflight unless the value is
# unusual, such as ``application/json``.
_ALWAYS = ("Accept", "Accept-Language", "Content-Language", "Content-Type")

_ALLOW_HEADERS = "Access-Control-Allow-Headers"

# Origins of unrelated sites. A regular expression that matches one of them most likely matches any
# site's origin.
_STRANGERS = [
    f"{start}notmysite.{end}{port}"
    for start in ("", ".", "www.")
    for end in ("com", "org", "net", "io", "dev", "app", "de", "co.uk", "invalid")
    for port in ("", ":3000", ":8000", ":8443")
]


class CORSMiddleware(FlowMiddleware):
    """Let scripts of ``origins`` read the responses:
    ``CORSMiddleware(origins=["https://app.example.com"])``.

    - ``origins``: exact origins, ``"https://*.example.com"`` for subdomains, or ``["*"]`` for all.
    - ``origin_regex``: a regular expression that must match the whole origin, in lower case.
    - ``methods``: the methods that these scripts may use, ``["*"]`` for all.
    - ``headers``: the headers that these scripts may send, ``["*"]`` for all.
    - ``expose``: the response headers that scripts may read in addition to the safelisted ones.
    - ``credentials``: whether scripts of listed origins may send cookies and read the responses.
    - ``max_age``: how many seconds a browser may cache the response to a preflight.

    This middleware responds to preflights for every path, with a 204. A rejected preflight also
    gets a 204, but without the CORS headers: browsers check only these, and a 400 would look like
    an error. Raises ``SetupError`` for arguments that contradict each other.
    """

    def __init__(
        self,
        origins: Texts = (),
        *,
        origin_regex: str | None = None,
        methods: Texts = METHODS,
        headers: Texts = ("Authorization",),
        expose: Texts = (),
        credentials: bool = False,
        max_age: int = 600,
        **others: Never,
    ) -> None:
        refuse_others(
            "CORSMiddleware",
            others,
            {
                "expose=[...]": "expose_headers",
                **{
                    f"{name}=...": f"allow_{name}"
                    for name in ("origins", "origin_regex", "methods", "headers", "credentials")
                },
            },
        )
        check_each("CORSMiddleware", *FLAG, credentials=credentials)
        refuse_text("origins", origins)
        self._any_origin = not isinstance(origins, str) and "*" in (origins := tuple(origins))
        self._origins = checked_origins(() if self._any_origin else origins, "origins")
        regex = self._regex = _compiled(origin_regex)
        refuse_text("methods", methods)
        methods = tuple(methods)
        self._methods = checked_methods(sorted(ALL) if "*" in methods else methods)
        names = (*_ALWAYS, *_header_names(headers, "headers"))
        self._headers = frozenset(name.lower() for name in names)
        exposed = _header_names(expose, "expose")
        if not (self._any_origin or self._origins or regex):
            raise SetupError(
                "CORSMiddleware needs the origins to allow: "
                'origins=["https://app.example.com"], or ["*"]'
            )
        if credentials and self._any_origin:
            raise SetupError(
                'credentials=True and origins=["*"] would show all users\' '
                "data to every site: list the origins"
            )
        if credentials and regex is not None and (stranger := _matched_stranger(regex)):
            raise SetupError(
                f"credentials=True and origin_regex={regex.pattern!r} would show all users' "
                f"data to {stranger}: "
                r'write a regex that ends with your host, such as r"https://[a-z0-9-]+\.example\.com"'
            )
        if credentials and "*" in exposed:
            raise SetupError(
                'browsers ignore expose=["*"] with credentials=True: list the names of the headers'
            )
        check(
            "CORSMiddleware(max_age=...)",
            is_count(max_age, least=0),
            max_age,
            "whole seconds, 0 or more",
        )

        common = [("Access-Control-Allow-Credentials", "true")] if credentials else []
        self._for_answers: HeaderPairs = [*common]
        if exposed:
            self._for_answers.append(("Access-Control-Expose-Headers", ", ".join(exposed)))
        self._for_preflights: HeaderPairs = [
            *common,
            ("Access-Control-Allow-Methods", ", ".join(self._methods)),
            (_ALLOW_HEADERS, ", ".join(dict.fromkeys(names))),
            ("Access-Control-Max-Age", str(max_age)),
        ]

    answers_preflights = True

    def before(self, request: Request) -> Response | None:
        """Respond to a preflight. ``after`` adds the CORS headers."""
        return Response(None, 204) if _is_preflight(request) else None

    def after(self, request: Request, response: Response) -> None:
        """Add the CORS headers, by which browsers decide which scripts may read the response."""
        headers = response.headers
        if not self._any_origin:  # the headers depend on the origin, even if it is rejected
            add_vary(response.pairs, "Origin")
        is_preflight = _is_preflight(request)
        allowed = self._allowed_origin(request._exchange.header("origin") or "")
        if allowed is None:
            return
        if is_preflight:
            # Reject the method here, because browsers send GET, HEAD and POST even if they are not
            # in the list of allowed methods.
            asked = request.headers.get("access-control-request-headers", "").lower().split(",")
            names = [name for name in map(str.strip, asked) if name]
            is_allowed = request.headers["access-control-request-method"] in self._methods and (
                all(map(TOKEN.fullmatch, names))
                if "*" in self._headers
                else self._headers.issuperset(names)
            )
            if not is_allowed:
                return
        headers["Access-Control-Allow-Origin"] = allowed
        for name, value in self._for_preflights if is_preflight else self._for_answers:
            headers[name] = value
        if is_preflight and "*" in self._headers:
            # List the headers by name, because "*" doesn't include Authorization and has no effect
            # with credentials.
            headers[_ALLOW_HEADERS] = ", ".join(names)

    def _allowed_origin(self, origin: str) -> str | None:
        if self._any_origin:
            return "*"
        if origin in self._origins:  # browsers send origins in the normal form
            return origin
        normal = normal_origin(origin)
        is_allowed = normal in self._origins or (
            normal and self._regex is not None and self._regex.fullmatch(normal)
        )
        return origin if is_allowed else None  # unchanged, because browsers compare it byte by byte


def _compiled(expression: str | None) -> re.Pattern[str] | None:
    fine = expression is None or isinstance(expression, str)
    check("CORSMiddleware(origin_regex=...)", fine, expression, "a regular expression as text")
    try:
        return None if expression is None else re.compile(expression)
    except re.error as error:
        raise SetupError(
            f"origin_regex={expression!r} is not a regular expression: {error}"
        ) from None


def _matched_stranger(regex: re.Pattern[str]) -> str:
    """Return an unrelated site's origin that the regular expression matches, or ""."""
    # Also append each unrelated host to the host at the beginning of the expression, because
    # r"https://example\.com.*" matches https://example.com.notmysite.com.
    own = [
        start.replace("\\", "") for start in re.findall(r"^\^?((?:[\w:/-]|\\[.-])+)", regex.pattern)
    ]
    origins = (
        normal_origin(start + end) for start in ("https://", "http://", *own) for end in _STRANGERS
    )
    return next((origin for origin in origins if origin and regex.fullmatch(origin)), "")


def _header_names(names: Iterable[str], argument: str) -> tuple[str, ...]:
    refuse_text(argument, names)
    checked = tuple(names)
    for name in checked:
        fine = isinstance(name, str) and TOKEN.fullmatch(name) is not None
        check(argument, fine, name, 'names of headers such as "X-Total"')
    return checked


def _is_preflight(request: Request) -> bool:
    """Return whether a request is a CORS preflight."""
    return (
        request.method == "OPTIONS"
        and "origin" in request.headers
        and "access-control-request-method" in request.headers
    )
