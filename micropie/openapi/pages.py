"""The routes of ``App(docs=True)``: the document, and Swagger UI's page for it, from the files of
swagger-ui-py.

The page has no script and no style of its own in it, so it runs below a Content-Security-Policy of
``default-src 'self'``; Swagger UI draws its icons from ``data:`` addresses, so add
``img-src 'self' data:`` to see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from micropie import App, HTTPError, Request, Response, SetupError, describe, requires, static_file
from micropie.extensions import Inspector
from micropie.openapi.docs import Docs
from micropie.openapi.document import build_document

_ASSETS = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})

_START = """\
"use strict";
const root = document.getElementById("docs");
SwaggerUIBundle({url: root.dataset.document, domNode: root, deepLinking: true});
"""

# Swagger UI has light colours only: they are turned round, and the code, which is dark, once more.
_DARK = """\
html { background: #1c1c1c; color-scheme: dark }
.swagger-ui { filter: invert(.89) hue-rotate(180deg) }
.swagger-ui :is(.highlight-code, .microlight, img) { filter: invert(1) hue-rotate(180deg) }
"""
_WRITTEN = {
    "start.js": (_START, "text/javascript; charset=utf-8"),
    "dark.css": (_DARK, "text/css; charset=utf-8"),
}

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="icon" href="{base}/favicon-32x32.png">
<link rel="stylesheet" href="{base}/swagger-ui.css">
<link rel="stylesheet" href="{base}/dark.css" media="(prefers-color-scheme: dark)"></head>
<body><main id="docs" data-document="{document}"></main>
<script src="{base}/swagger-ui-bundle.js"></script><script src="{base}/start.js"></script></body></html>
"""  # noqa: E501


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title version description terms_of_service": (_is_text, "a text"),
    "servers": (lambda value: _is_list(value) and all(map(_is_text, value)), "a list of URLs"),
    "requires": (_is_list, "a list of checks"),
    "contact license tags": (
        lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values())),
        "a dict of texts",
    ),
    "responses": (lambda value: isinstance(value, Mapping), "a dict by status, {422: Errors}"),
}
_OPTIONAL = ("title", "description", "terms_of_service", "contact", "license")


def _checked(stated: Literal[True] | str | Docs) -> Docs:
    docs = stated if isinstance(stated, Docs) else Docs(path="/docs" if stated is True else stated)
    for names, (is_right, expected) in _RULES.items():
        for name in names.split():
            value = getattr(docs, name)
            if not (is_right(value) or (value is None and name in _OPTIONAL)):
                raise SetupError(f"Docs({name}=...) takes {expected}, not {value!r}")
    describe(responses=docs.responses)  # raises SetupError for a status that is none
    is_path = (
        isinstance(docs.path, str)
        and docs.path.startswith("/")
        and docs.path.strip("/")
        and "<" not in docs.path
    )
    if not is_path:
        raise SetupError(
            'App(docs=...) takes True, False, a path such as "/docs", or Docs(...), '
            f"not {docs.path!r}"
        )
    return docs


def add_document(app: App, stated: Literal[True] | str | Docs) -> Docs:
    """Add the document and its page to an application; see ``App(docs=...)``. Return what was
    ``stated``, whole.

    Raises ``SetupError`` for a wrong path, and if swagger-ui-py is missing.
    """
    docs = _checked(stated)
    path = f"/{docs.path.strip('/')}"
    found = find_spec("swagger_ui")  # its modules are for other frameworks: none is imported
    if found is None or not found.submodule_search_locations:
        raise SetupError(
            'App(docs=...) needs the files of swagger-ui-py: pip install "micropie-dual[docs]"'
        )
    directory = Path(found.submodule_search_locations[0]) / "static"

    built: tuple[Sequence[object], dict[str, Any]] | None = None

    def openapi_json() -> Response:
        nonlocal built
        # once for each place, and for each time that the routes are made: 0.1 s for 200 routes
        own = Inspector(app, inside=True).applications()[0].path
        described = [own, *(one.route for one in Inspector(app).routes())]
        if built is None or built[0] != described:
            built = described, build_document(app, docs)
        document, below = built[1], _below(app.request, "/openapi.json")
        return Response(
            {**document, "servers": [{"url": below}]} if below and not docs.servers else document
        )

    def docs_page() -> Response:
        below = _below(app.request, path)
        base, document = escape(f"{below}{quote(path)}"), escape(f"{below}/openapi.json")
        title = escape(docs.title or type(app).__name__)
        page = _PAGE.format(title=title, base=base, document=document)
        return Response(page, content_type="text/html; charset=utf-8")

    def docs_asset(name: str) -> Response:
        if name in _WRITTEN:
            text, content_type = _WRITTEN[name]
            return Response(text, content_type=content_type)
        if name not in _ASSETS:
            raise HTTPError(404)
        return static_file(name, directory, max_age=3600)

    found_at: dict[str, Callable[..., object]] = {
        "/openapi.json": openapi_json,
        path: docs_page,
        f"{path}/<name>": docs_asset,
    }
    if docs.requires:
        found_at = {
            place: requires(*docs.requires)(function) for place, function in found_at.items()
        }
    for place, function in found_at.items():
        App.route(app, place, ["GET"])(function)
    return docs


def _below(request: Request, own: str) -> str:
    """Return the prefix of the application that answers a request at ``own``, as a URL has it."""
    return quote(request.root_path + request.path.removesuffix(own))
