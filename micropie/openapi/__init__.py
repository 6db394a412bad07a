"""OpenAPI: a machine-readable document that describes the routes of an application.

Open ``document.py`` to change how a handler is described, ``schemas.py`` for the schema of a type,
``pages.py`` for ``App.openapi``, ``App.asyncapi`` and the routes of ``App(docs=True)``, and
``docs.py`` for ``Docs``. ``asyncapi.py`` builds the AsyncAPI document, which describes WebSockets
and event streams, and ``channels_page.py`` builds its page. ``App`` imports these modules on first
use.
"""

from micropie.openapi.docs import Docs

__all__ = ["Docs"]
