"""OpenAPI: a machine-readable document that describes the routes of an application.

Open ``document.py`` to change how a handler is described, ``schemas.py`` for the schema of a type,
``pages.py`` for the routes of ``App(docs=True)``, and ``docs.py`` for ``Docs``. ``asyncapi.py``
builds the document of WebSockets and event streams, ``channels_page.py`` its page, and ``built.py``
calls the builders of both documents. ``App.openapi``, ``App.asyncapi`` and ``App(docs=...)`` import
these on first use.
"""

from micropie.openapi.docs import Docs

__all__ = ["Docs"]
