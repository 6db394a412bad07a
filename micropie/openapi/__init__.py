"""OpenAPI: the routes of an application as a document that programs read.

``App.openapi`` and ``App(docs=...)`` import what makes it when they are asked.
"""

from micropie.openapi.docs import Docs

__all__ = ["Docs"]
