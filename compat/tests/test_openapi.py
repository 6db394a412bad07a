"""The OpenAPI document of the native handlers of a migrated application."""

from __future__ import annotations

from typing import Any

import pytest

from micropie_compat import bottle, cherrypy


@pytest.mark.parametrize("app", [bottle.Bottle(), cherrypy.Application(None, "")])
def test_an_openapi_document_omits_micropie_s_own_docstrings(app: Any) -> None:
    def price() -> int:
        """Return the price of a pie."""
        return 3

    app.native.get("/price")(price)
    document = app.native.openapi()
    assert document["info"] == {"title": "MovedApp", "version": "1.0.0"}
    assert document["paths"]["/price"]["get"]["summary"] == "Return the price of a pie."
