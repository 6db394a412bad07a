"""The routes of ``Docs(asyncapi="/channels")``: the AsyncAPI document, and a page that shows it to
readers.

The page is plain HTML without scripts, so it works with a Content-Security-Policy of ``default-src
'self'``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html import escape
from urllib.parse import quote

from micropie import Response
from micropie.openapi.schemas import Schema

_STYLE = """\
:root { color-scheme: light dark; background: Canvas; color: CanvasText; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
pre { overflow: auto; padding: .75rem; border: 1px solid; border-radius: .25rem; }
section { border-top: 1px solid; }
.about { white-space: pre-line; }
"""

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="stylesheet" href="{base}/style.css"></head>
<body><header><h1>{title}</h1><p>Version {version}. <a href="{document}">AsyncAPI document</a></p>
{about}</header><main>{sections}</main></body></html>
"""
_TITLES = {"receive": "From the client", "send": "To the client"}
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')


def below(document: Schema, prefix: str) -> Schema:
    """Return a copy of a document in which ``prefix``, the URL path of an application, precedes
    each channel's address.
    """
    channels = {
        name: {**channel, "address": prefix + channel["address"]}
        for name, channel in document["channels"].items()
    }
    return {**document, "channels": channels}


def channel_routes(
    path: str, document: Callable[[], Schema], prefix_at: Callable[[str], str]
) -> dict[str, Callable[..., object]]:
    """Return the handlers for the document, its page and the page's style sheet, by path.

    ``document``: a function that returns the current document. ``prefix_at``: a function that takes
    a path in the application, and returns the URL prefix under which the current request reaches
    the application.
    """

    def asyncapi_json() -> Response:
        return Response(below(document(), prefix_at("/asyncapi.json")))

    def channels_page() -> Response:
        prefix = prefix_at(path)
        page = _page(below(document(), prefix), f"{prefix}{quote(path)}", prefix)
        return Response(page, content_type="text/html; charset=utf-8")

    def channels_style() -> Response:
        return Response(_STYLE, content_type="text/css; charset=utf-8")

    return {
        "/asyncapi.json": asyncapi_json,
        path: channels_page,
        f"{path}/style.css": channels_style,
    }


def _page(document: Schema, base: str, prefix: str) -> str:
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        about=_text(info.get("description", "")),
        base=escape(base),
        document=escape(f"{prefix}/asyncapi.json"),
        sections="".join(_sections(document))
        or "<p>There are no WebSockets and no event streams.</p>",
    )


def _sections(document: Schema) -> Iterator[str]:
    for name, channel in document["channels"].items():
        kind = "WebSocket" if "bindings" in channel else "Event stream"
        yield f"<section><h2>{kind} <code>{escape(channel['address'])}</code></h2>"
        yield _text(channel.get("summary", "")) + _text(channel.get("description", ""))
        operations = document["operations"]
        binding = channel.get("bindings") or operations[f"{name}.send"]["bindings"]
        for one in binding.values():
            for place in ("query", "headers"):
                if place in one:
                    yield f"<h3>{place.title()}</h3>{_schema(one[place])}"
        for action, message in channel["messages"].items():
            kind = message.get("contentType", document["defaultContentType"])
            yield f"<h3>{_TITLES[action]}: {escape(kind)}</h3>{_schema(message.get('payload', {}))}"
        yield "</section>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<section id="{escape(name)}"><h2>{escape(name)}</h2>{_schema(schema)}</section>'


def _text(text: str) -> str:
    return f'<p class="about">{escape(text)}</p>' if text else ""


def _schema(schema: Schema) -> str:
    """Return a schema as JSON, with links to the schemas that it refers to."""
    if not schema:
        return "<p>Anything.</p>"
    written = escape(json.dumps(schema, indent=2, ensure_ascii=False), quote=False)
    linked = _REFERENCE.sub(lambda found: f'<a href="#{quote(found[1])}">"{found[1]}"</a>', written)
    return f'<pre tabindex="0">{linked}</pre>'  # so that users can scroll it with the keyboard
