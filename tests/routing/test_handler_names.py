"""Names that handlers may have, and the methods that they answer by their names."""

from __future__ import annotations

from typing import Any

import pytest

from micropie import (
    App,
    put,
)
from tests.conftest import MakeClient


class Part(App):
    def item(self) -> str:
        return "item"


class ByName(App):
    part = Part()
    own = Part(methods=["GET", "PUT"])

    def index(self) -> str:
        return "index"

    @put
    def changed(self) -> str:
        return "changed"


@pytest.mark.parametrize("path", ["/", "/part/item"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_setting_keeps_changing_methods_from_names(
    make_client: MakeClient, method: str, path: str
) -> None:
    assert make_client(ByName()).request(method, path).status_code == 200
    client = make_client(ByName(methods=["GET", "HEAD", "POST"]))
    response = client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert [client.request(one, path).status_code for one in ("GET", "HEAD", "POST")] == [200] * 3
    assert client.put("/changed").text == "changed"
    assert client.put("/own/item").text == "item"


def test_handlers_may_have_the_names_of_other_methods(make_client: MakeClient) -> None:
    """What an application is registered, served and shown with does not go through its handlers."""
    refused = {"run", "channels", "request", "response", "wsgi_shutdown", "lifespan"}
    names = [one for one in dir(App) if not one.startswith("_") and one not in refused]
    assert {"get", "mount", "static", "render", "openapi", "root"} <= {*names}
    handlers: dict[str, Any] = {name: lambda self: "handler" for name in names}
    app: App = type("Named", (App,), handlers)(docs=True)
    client = make_client(app)
    assert [client.get(f"/{name}").text for name in names] == ["handler"] * len(names)
    assert set(client.get("/openapi.json").json()["paths"]) >= {f"/{name}" for name in names}
