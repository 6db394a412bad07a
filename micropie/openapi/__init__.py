"""OpenAPI: the routes of an application as a document that programs read.

``App.openapi`` imports it when asked.
"""

from micropie.openapi.document import Docs, build_document
from micropie.openapi.pages import document_routes

__all__ = [
    "Docs",
    "build_document",
    "document_routes",
]
