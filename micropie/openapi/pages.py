"""``App.openapi`` and ``App.asyncapi``, and the routes of ``App(docs=True)``: the document, and a
page of Swagger UI, with the files of micropie-swagger-ui or ``Docs(assets=...)``. The routes of
``Docs(asyncapi=...)`` are in ``channels_page.py``.

The page has no inline script or style, so it works with a Content-Security-Policy of ``default-src
'self'``. Swagger UI's icons are ``data:`` URLs, so they need ``img-src 'self' data:`` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from html import escape
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote
from weakref import WeakKeyDictionary

from micropie import App, HTTPError, Response, SetupError, describe, requires, static_file
from micropie.extensions import Inspector
from micropie.openapi.asyncapi import build_channels
from micropie.openapi.docs import Docs
from micropie.openapi.document import build_document
from micropie.openapi.schemas import Schema, rewritten

_NEEDED = ("swagger-ui.css", "swagger-ui-bundle.js")
_ICON = "favicon-32x32.png"

# Runs after the bundle, which is a deferred script.
_START = """\
"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("docs");
  SwaggerUIBundle({url: root.dataset.document, domNode: root, deepLinking: true});
});
"""

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="icon" href="{base}/favicon-32x32.png">
<link rel="stylesheet" href="{base}/swagger-ui.css">
<script src="{base}/start.js"></script><script src="{base}/swagger-ui-bundle.js" defer></script></head>
<body><main id="docs" data-document="{document}"></main></body></html>
"""  # noqa: E501


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_path(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.startswith("/")
        and bool(value.strip("/"))
        and "<" not in value
    )


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title version description terms_of_service": (_is_text, "a string"),
    "servers": (lambda value: _is_list(value) and all(map(_is_text, value)), "a list of URLs"),
    "requires": (_is_list, "a list of checks"),
    "assets": (lambda value: isinstance(value, str | PathLike), "a directory"),
    "asyncapi": (_is_path, 'a path such as "/channels"'),
    "openapi": (lambda value: value in ("3.1", "3.2"), '"3.1" or "3.2"'),
    "contact license tags": (
        lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values())),
        "a dict of strings",
    ),
    "responses": (lambda value: isinstance(value, Mapping), "a dict by status, {422: Errors}"),
}


def _checked(stated: Literal[True] | str | Docs) -> Docs:
    docs = stated if isinstance(stated, Docs) else Docs(path="/docs" if stated is True else stated)
    optional = {one.name for one in fields(Docs) if one.default is None}
    for names, (is_right, expected) in _RULES.items():
        for name in names.split():
            value = getattr(docs, name)
            if not (is_right(value) or (value is None and name in optional)):
                raise SetupError(f"Docs({name}=...) takes {expected}, not {value!r}")
    describe(responses=docs.responses)  # raises SetupError for an invalid status
    if not _is_path(docs.path):
        raise SetupError(
            'App(docs=...) takes True, False, a path such as "/docs", or Docs(...), '
            f"not {docs.path!r}"
        )
    return docs


def _assets(docs: Docs) -> Path:
    """Return the directory with Swagger UI's files.

    Raises ``SetupError`` if there is no directory, or if it lacks a file.
    """
    if docs.assets is not None:
        directory = Path(docs.assets)
        if missing := [name for name in _NEEDED if not (directory / name).is_file()]:
            raise SetupError(
                f"Docs(assets={str(docs.assets)!r}): there is no {' and no '.join(missing)} "
                f"in {directory.absolute()}. Give the directory of the npm package swagger-ui-dist"
            )
        return directory
    found = find_spec("micropie_swagger_ui")
    if found is None or not found.submodule_search_locations:
        raise SetupError(
            "App(docs=...) needs the files of Swagger UI. Install them from your clone of "
            "micropie, with pip install path/to/micropie/swagger-ui, or give a directory that has "
            'them: App(docs=Docs(assets="node_modules/swagger-ui-dist"))'
        )
    return Path(found.submodule_search_locations[0])


def add_document(app: App, stated: Literal[True] | str | Docs) -> Docs:
    """Add the document and its page to an application; see ``App(docs=...)``. ``stated`` is True, a
    path or a ``Docs`` object. Return it as a ``Docs`` object.

    Raises ``SetupError`` for an invalid path, and if the files of Swagger UI are missing.
    """
    docs = _checked(stated)
    path = f"/{docs.path.strip('/')}"
    directory = _assets(docs)

    def openapi_json() -> Response:
        document, below = _current(app, docs, build_document), _below(app, "/openapi.json")
        return Response(
            {**document, "servers": [{"url": below}]} if below and not docs.servers else document
        )

    def docs_page() -> Response:
        below = _below(app, path)
        base, document = escape(f"{below}{quote(path)}"), escape(f"{below}/openapi.json")
        title = escape(docs.title or type(app).__name__)
        page = _PAGE.format(title=title, base=base, document=document)
        return Response(page, content_type="text/html; charset=utf-8")

    def docs_asset(name: str) -> Response:
        if name == "start.js":
            return Response(_START, content_type="text/javascript; charset=utf-8")
        if name not in {*_NEEDED, _ICON}:
            raise HTTPError(404)
        return static_file(name, directory, max_age=3600)

    found_at: dict[str, Callable[..., object]] = {
        "/openapi.json": openapi_json,
        path: docs_page,
        f"{path}/<name>": docs_asset,
    }
    if docs.asyncapi is not None:
        # imported here, because few applications need it
        from micropie.openapi.channels_page import channel_routes

        described = partial(_current, app, docs, build_channels)
        channels = f"/{docs.asyncapi.strip('/')}"
        found_at |= channel_routes(channels, described, partial(_below, app))
    if docs.requires:
        found_at = {
            place: requires(*docs.requires)(function) for place, function in found_at.items()
        }
    for place, function in found_at.items():
        App.route(app, place, ["GET"])(function)
    return docs


def copy_of(
    app: App, docs: Docs | None, kind: str, title: str | None, version: str | None
) -> Schema:
    """Return a copy of the document of ``App.openapi`` or ``App.asyncapi``, because the caller may
    change it. ``docs``: that of ``App(docs=...)``, or None. ``kind``: "openapi" or "asyncapi".
    """
    docs = docs or Docs()
    titled = replace(docs, title=title or docs.title, version=version or docs.version)
    build = build_document if kind == "openapi" else build_channels
    document: Schema = rewritten(_current(app, titled, build), dict)
    return document


_Build: TypeAlias = Callable[[App, Docs], Schema]
_documents: WeakKeyDictionary[App, dict[_Build, tuple[Sequence[object], Schema]]] = (
    WeakKeyDictionary()
)


def _current(app: App, docs: Docs, build: _Build) -> Schema:
    """Return the document that ``build`` builds, which is cached, because building it takes 0.1 s
    for 200 routes. It is built again when the routes, the application's mount or ``docs`` have
    changed.
    """
    own = Inspector(app, inside=True).applications()[0].path
    state = [docs, own, *(one.route for one in Inspector(app).all_routes())]
    cached = _documents.setdefault(app, {})
    if build not in cached or cached[build][0] != state:
        cached[build] = state, build(app, docs)
    return cached[build][1]


def _below(app: App, own: str) -> str:
    """Return the URL prefix of the application, escaped as browsers escape it. They compare this
    text with the path of a session's cookie. ``own``: the request's path within the application.
    """
    request = app.request
    return quote(request.root_path + request.path.removesuffix(own), safe="/:@!$&'()*+,=")
