"""Build the documents of ``App.openapi`` and ``App.asyncapi``.

Each function takes the ``Docs`` of ``App(docs=...)``, or None for an application without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from micropie import App
from micropie.openapi.docs import Docs
from micropie.openapi.document import build_document


def build_openapi(
    app: App, docs: Docs | None, title: str | None, version: str | None
) -> dict[str, Any]:
    """Return the document of ``App.openapi``."""
    return build_document(app, _titled(docs or Docs(), title, version))


def build_asyncapi(
    app: App, docs: Docs | None, title: str | None, version: str | None
) -> dict[str, Any]:
    """Return the document of ``App.asyncapi``."""
    # imported here, because few applications need it
    from micropie.openapi.asyncapi import build_channels

    return build_channels(app, _titled(docs or Docs(), title, version))


def _titled(docs: Docs, title: str | None, version: str | None) -> Docs:
    return replace(docs, title=title or docs.title, version=version or docs.version)
