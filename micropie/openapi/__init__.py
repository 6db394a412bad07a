"""OpenAPI: a document that describes the routes of an application to programs.

Open ``document.py`` to change what the document says about a handler, ``schemas.py`` for the schema
of a type, ``pages.py`` for the routes of ``App(docs=True)``, and ``docs.py`` for ``Docs``.
``asyncapi.py`` makes the document of WebSockets and event streams, ``channels_page.py`` its page,
and ``built.py`` calls both documents' builders.
``App.openapi``, ``App.asyncapi`` and ``App(docs=...)`` import these on first use.
"""

from micropie.openapi.docs import Docs

__all__ = ["Docs"]
