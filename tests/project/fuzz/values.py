"""Targets for values that an application writes or reads: links, texts and their charset, defaults in
OpenAPI, text areas, addresses that count for a rate limit.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import quote_from_bytes

from msgspec import Meta
from werkzeug.http import parse_options_header

from micropie import App, Response, run_in
from micropie.middleware.rate_limit import client_address
from tests.project.fuzz.exchanges import ask_both
from tests.project.fuzz.parsers import fields_of, latin

# -- links -----------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "r/d"
    NONE = ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


_VALUES: dict[type, Any] = {
    str: _text,
    int: lambda data: int.from_bytes(data[:12], "big", signed=True),
    float: lambda data: struct.unpack("d", data[:8].ljust(8))[0],
    Decimal: lambda data: Decimal(latin(data)),
    bool: lambda data: bool(data),
    bytes: bytes,
    timedelta: lambda data: timedelta(microseconds=int.from_bytes(data[:6], "big", signed=True)),
    datetime: lambda data: datetime.fromtimestamp(int.from_bytes(data[:4], "big"), UTC),
    Colour: lambda data: Colour.NONE if len(data) % 2 else Colour.RED,
}


class Linked(App):
    seen: list[object]


@cache
def _linked(kind: type) -> Linked:
    app = Linked(security=False)

    def value(value: object) -> str:
        app.seen.append(value)
        return ""

    for name, hint in (("one", kind), ("several", list[kind])):  # type: ignore[valid-type]
        value.__annotations__ = {"value": hint, "return": str}
        app.get(f"/{name}", name=name)(run_in("loop")(_copied(value)))
    return app


def _copied(function: Any) -> Any:
    copied = type(function)(
        function.__code__, function.__globals__, "value", None, function.__closure__
    )
    copied.__annotations__ = function.__annotations__
    return copied


def links(data: bytes) -> None:
    """Binding takes what a link has been made of: the same value comes back."""
    kinds = [*_VALUES]
    kind = kinds[data[0] % len(kinds)] if data else str
    with suppress(InvalidOperation):
        value = _VALUES[kind](data[1:])
        if isinstance(value, float | Decimal) and not math.isfinite(value):
            return  # no link can contain it
        app = _linked(kind)
        for name, given in (("one", value), ("several", [value, value])):
            app.seen = []
            answers = ask_both(app, "GET", app.url_for(name, value=given).encode(), [], b"")
            for status, _, body in answers:
                # a number may be too large, and no request has a NUL
                is_refused = isinstance(value, float | Decimal) or "\0" in str(value)
                assert status == 200 or is_refused, (value, body)
            assert all(one == given for one in app.seen), (given, app.seen)


# -- texts and their charset -----------------------------------------------------------------------

_TEXT = "K\xe4se"


class Typed(App):
    @run_in("loop")
    def whole(self, kind: str) -> Response:
        return Response(_TEXT, content_type=kind)

    @run_in("loop")
    def streamed(self, kind: str) -> Response:
        return Response(iter([_TEXT[:2], _TEXT[2:]]), content_type=kind)

    async def generated(self, kind: str) -> Any:
        self.response.headers["Content-Type"] = kind
        yield _TEXT


_WELL_FORMED = re.compile(r'text/[\w.+-]+(?: ?; ?[\w-]+=(?:"[^"\\ ]*"|[\w.-]+))*', re.ASCII)
_typed = cache(lambda: Typed(security=False))


def charsets(data: bytes) -> None:
    """Browsers read a text as it was, whatever type its author has stated for it."""
    query = b"kind=text/" + quote_from_bytes(data).encode()
    for path in (b"/whole?", b"/streamed?", b"/generated?"):
        for status, headers, body in ask_both(_typed(), "GET", path + query, [], b""):
            stated = {name.lower(): value for name, value in headers}["content-type"]
            if status == 200 and _WELL_FORMED.fullmatch(stated):
                charset = parse_options_header(stated)[1].get("charset", "windows-1252")
                with suppress(LookupError):  # an unknown one
                    codecs.lookup(charset)
                    assert body.decode(charset) == _TEXT, (stated, body)


# -- defaults in OpenAPI ---------------------------------------------------------------------------


def defaults(data: bytes) -> None:
    """Any default leaves the document JSON that every parser reads."""
    number = struct.unpack("d", data[:8].ljust(8))[0]
    with suppress(InvalidOperation):
        exact = Decimal(latin(data[8:]) or "0")

        def search(
            price: float = number,
            prices: list[float] = [number],  # noqa: B006
            amount: Decimal = exact,
            raw: bytes = data,
        ) -> None: ...

        app = App(security=False)
        app.get("/search")(search)
        document = json.dumps(app.openapi(), allow_nan=False)
        parameters = json.loads(document)["paths"]["/search"]["get"]["parameters"]
        schemas = {one["name"]: one["schema"] for one in parameters}
        assert ("default" in schemas["price"]) == math.isfinite(number)


# -- text areas ------------------------------------------------------------------------------------


class Areas(App):
    @run_in("loop")
    def note(self, text: Annotated[str, Meta(max_length=5)]) -> str:
        return text


_areas = cache(lambda: Areas(security=False))


def text_areas(data: bytes) -> None:
    """A text is taken if it is as short as ``maxlength`` of a browser allows, and kept as it was,
    with one character for each line end.
    """
    text = _text(data).replace("\n", "\r\n")
    body = b"text=" + quote_from_bytes(text.encode()).encode()
    lines = [(b"content-type", b"application/x-www-form-urlencoded")]
    for status, _, answer in ask_both(_areas(), "POST", b"/note", lines, body):
        if text and "\0" not in text:
            kept = text.replace("\r\n", "\n")
            assert (status == 200) == (len(kept) <= 5), (text, status)
            assert status != 200 or answer.decode() == kept, (text, answer)


# -- rate limits -----------------------------------------------------------------------------------


def _embeddings(address: IPv4Address) -> Iterator[str]:
    yield str(address)
    yield f"::ffff:{address}"
    number = int(address)
    yield str(IPv6Address(0x2002 << 112 | number << 80 | 0xABCD << 64 | 5))
    yield str(IPv6Address((0x64FF9B << 96) | number))


def counted_addresses(data: bytes) -> None:
    """An IPv4 address counts as one client however it is written; a network of IPv6 does, too."""
    four, six = fields_of(data, 2)

    def key_of(host: str) -> str:
        return client_address(SimpleNamespace(client=SimpleNamespace(host=host)))  # type: ignore[arg-type]

    keys = {key_of(one) for one in _embeddings(IPv4Address(four[:4].ljust(4, b"\1")))}
    assert len(keys) == 1, keys
    address = IPv6Address(six[:16].ljust(16, b"\1"))
    key = key_of(str(address))
    if key.endswith("/64"):
        assert key_of(str(IPv6Address(int(address) ^ 1))) == key
        assert key_of(str(IPv6Address(int(address) ^ 1 << 64))) != key
    assert key_of(latin(six)) is not None
