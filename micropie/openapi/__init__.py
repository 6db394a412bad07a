"""OpenAPI: the routes of an application as a document that programs read.

Open ``document.py`` to change what the document contains of a handler, ``schemas.py`` for the
schema of a type, ``pages.py`` for the routes of ``App(docs=True)``, and ``docs.py`` for ``Docs``.
``asyncapi.py`` has the document of WebSockets and event streams, and ``built.py`` both.
``App.openapi``, ``App.asyncapi`` and ``App(docs=...)`` import these on first use.
"""

from micropie.openapi.docs import Docs

__all__ = ["Docs"]
