"""A route below a mount is never reached: it is told at the start, and listed as what it is."""

from __future__ import annotations

from typing import Any

import pytest

from micropie import App
from micropie.extensions import Inspector
from tests.support.clients import MakeClient
from tests.support.debugging import DEVELOPER


class Api(App):
    def status(self) -> str:
        return "the mounted one"

    def index(self) -> str:
        return "index"


def shop(**settings: Any) -> App:
    app = App(**settings)

    @app.get("/api/<name>/state")
    def state(name: str) -> str:
        return name

    @app.get("/apis")
    def apis() -> str:
        return "beside it"

    app.mount("/api", Api())
    return app


HIDDEN = "state is never reached: the mount at /api comes first"


def test_a_route_hidden_by_a_mount_is_logged_once_at_startup(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(shop(debug=True))
    assert client.get("/api/status").text == "the mounted one"
    assert client.get("/api/x/state").status_code == 404
    assert client.get("/apis").text == "beside it"
    messages = [one.getMessage() for one in caplog.records if "never reached" in one.getMessage()]
    assert len(messages) == 1
    assert messages[0].endswith(HIDDEN)
    assert "test_hidden_routes.py" in messages[0]


def test_lists_of_routes_mark_hidden_routes() -> None:
    entries = Inspector(shop()).routes()
    found = {one.route.name: one.hidden.partition(": ")[2] for one in entries}
    assert found == {"state": HIDDEN, "apis": "", "api.status": "", "api.index": ""}


def test_neither_the_document_nor_the_404_page_lists_a_hidden_route(
    make_client: MakeClient,
) -> None:
    app = shop(debug=True)
    assert [*app.openapi()["paths"]] == ["/api", "/api/status", "/apis"]
    answer = make_client(app, **DEVELOPER).get("/api/x/state")
    assert answer.status_code == 404
    assert "api.status" in answer.text
    assert "<name>" not in answer.text


def test_a_host_has_its_own_mounts(caplog: pytest.LogCaptureFixture) -> None:
    root = App(debug=True)
    root.admin = shop(host="admin.example.com")
    root.get("/api/open")(lambda: "")
    hidden = {one.route.name: one.hidden for one in Inspector(root).routes()}
    assert [name for name, sentence in hidden.items() if sentence] == ["admin.state"]
    assert caplog.text.count(HIDDEN) == 1


def test_route_names_are_chosen_by_the_author() -> None:
    with pytest.raises(LookupError) as caught:
        shop(debug=True).url_for("other")
    listed = "api.index, api.status, apis, state"
    assert str(caught.value) == f"there is no route named 'other', but there are: {listed}"
