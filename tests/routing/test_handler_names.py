"""Names that handlers may have."""

from __future__ import annotations

from typing import Any

from micropie import (
    App,
)
from tests.support.clients import MakeClient


def test_handlers_may_have_the_names_of_methods_of_app(make_client: MakeClient) -> None:
    """What an application is registered, served and shown with does not go through its handlers."""
    refused = {"run", "channels", "pool", "request", "response", "wsgi_shutdown", "lifespan"}
    names = [one for one in dir(App) if not one.startswith("_") and one not in refused]
    assert {"get", "mount", "static", "render", "openapi", "root"} <= {*names}
    handlers: dict[str, Any] = {name: lambda self: "handler" for name in names}
    app: App = type("Named", (App,), handlers)(docs=True)
    client = make_client(app)
    assert [client.get(f"/{name}").text for name in names] == ["handler"] * len(names)
    assert set(client.get("/openapi.json").json()["paths"]) >= {f"/{name}" for name in names}
