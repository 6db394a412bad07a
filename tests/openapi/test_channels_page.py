"""The page of ``Docs(asyncapi=...)``."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import msgspec
import pytest

from micropie import App, Request, SetupError, WebSocket
from micropie.middleware import SecurityHeaders
from micropie.openapi import Docs
from tests.openapi.channels import Root
from tests.support.clients import MakeClient

DOCS = Docs(asyncapi="/channels/", title="Talk & more", version="2.1")


def test_the_channels_page_and_its_document_are_served(make_client: MakeClient) -> None:
    app = Root(docs=DOCS)
    client = make_client(app)
    page = client.get("/channels")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert re.findall(r'href="(/[^"]+)"', page.text) == ["/channels/style.css", "/asyncapi.json"]
    assert client.get("/channels/style.css").headers["content-type"].startswith("text/css")
    document = client.get("/asyncapi.json").json()
    assert document == app.asyncapi()
    assert "channels" not in "".join(document["channels"])
    assert not {"/channels", "/asyncapi.json"} & client.get("/openapi.json").json()["paths"].keys()


def test_the_page_has_all_channels_messages_and_schemas(make_client: MakeClient) -> None:
    app = Root(docs=DOCS)
    document, text = app.asyncapi(), make_client(app).get("/channels").text
    assert [*re.findall(r"<h2>(.+?) <code>(.+?)</code>", text)] == [
        ("Event stream" if name in {"ticks", "moves"} else "WebSocket", one["address"])
        for name, one in document["channels"].items()
    ]
    assert "<h1>Talk &amp; more</h1><p>Version 2.1." in text
    assert '<p class="about">Talk.</p>' in text
    (room,) = [one for one in text.split("<section>") if "/room/{room}" in one]
    assert '<p class="about">Enter a room.</p><p class="about">All hear all.</p>' in room
    assert re.findall("<h3>(.+?)</h3>", room) == [
        *("Query", "Headers"),
        *("From the client: application/json", "To the client: application/json"),
    ]
    assert "<h3>To the client: application/octet-stream</h3>" in text
    assert "<p>Anything.</p>" in text
    links, names = set(re.findall('href="#(.+?)"', text)), set(re.findall('id="(.+?)"', text))
    assert links == names == {*document["components"]["schemas"]}


def test_the_channels_page_needs_no_inline_script_or_style(make_client: MakeClient) -> None:
    app = Root(docs=DOCS)
    app.middlewares.append(SecurityHeaders(csp="default-src 'self'"))
    assert not re.search("<script|<style|style=|onload=", make_client(app).get("/channels").text)


def test_texts_of_the_application_are_escaped(make_client: MakeClient) -> None:
    class Said(msgspec.Struct, rename={"text": "<i>"}):
        text: str = '"</pre><b>"'

    class Chat(App):
        """<b>Chat</b>"""

        async def ws_room(self, ws: Any) -> None:
            """<b>Room</b>"""

    Said.__name__ = '<b">'
    Chat.ws_room.__annotations__["ws"] = WebSocket[Said, Said]
    text = make_client(Chat(docs=Docs(asyncapi="/c", title="<b>", version="<b>"))).get("/c").text
    assert not re.search("<b>|<i>|</pre><b|<script", text.replace("</pre></section>", ""))
    assert "</pre><b>" in unescape(text)


def test_below_a_prefix_the_page_s_urls_include_it(make_client: MakeClient) -> None:
    root = App()
    root.mount("/talk", Root(docs=DOCS))
    client = make_client(root)
    page = client.get("/talk/channels").text
    assert 'href="/talk/channels/style.css"' in page
    assert 'href="/talk/asyncapi.json"' in page
    assert "<code>/talk/room/{room}</code>" in page
    document = client.get("/talk/asyncapi.json").json()
    assert document["channels"]["ws_plain"]["address"] == "/talk/plain"


def test_access_checks_protect_the_channels_page(make_client: MakeClient) -> None:
    def members(request: Request) -> bool:
        return request.query.get("key") == "sesame"

    client = make_client(App(docs=Docs(asyncapi="/channels", requires=[members])))
    found = [client.get(path) for path in ("/channels", "/asyncapi.json", "/channels/style.css")]
    assert [one.status_code for one in found] == [403] * 3
    assert (
        "There are no WebSockets and no event streams." in client.get("/channels?key=sesame").text
    )


def test_a_websocket_added_later_is_shown(make_client: MakeClient) -> None:
    app = App(docs=Docs(asyncapi="/channels"))
    client = make_client(app)
    assert client.get("/asyncapi.json").json()["channels"] == {}

    async def late(ws: WebSocket) -> None: ...

    app.websocket("/late")(late)
    assert "<code>/late</code>" in client.get("/channels").text


@pytest.mark.parametrize("wrong", [True, 1, "channels", "/", "/<x>"])
def test_an_invalid_path_raises_an_error(wrong: Any) -> None:
    with pytest.raises(
        SetupError, match=r'Docs\(asyncapi=\.\.\.\) takes a path such as "/channels"'
    ):
        App(docs=Docs(asyncapi=wrong))


def test_an_invalid_version_raises_an_error() -> None:
    with pytest.raises(
        SetupError, match=r"Docs\(openapi=\.\.\.\) takes .3\.1. or .3\.2., not '3.0'"
    ):
        App(docs=Docs(openapi="3.0"))  # type: ignore[arg-type]


def test_without_the_setting_there_is_no_channels_page(make_client: MakeClient) -> None:
    client = make_client(App(docs=True))
    assert [client.get(one).status_code for one in ("/asyncapi.json", "/channels")] == [404, 404]
