"""The functions that implement the tools ``json_in`` and ``json_out``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from micropie.config import Settings
from micropie_compat.cherrypy.errors import HTTPError
from micropie_compat.cherrypy.lib import listed
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Strings
from micropie_compat.results import AnyFunction, then

# The encoder and the decoder are called directly because ``json.dumps`` and ``json.loads`` check
# their options at each call.
decode, _encode = json.JSONDecoder().decode, json.JSONEncoder().encode

_TYPES = ("application/json", "text/javascript")

_MOST = Settings().max_data_size


def json_processor(entity: Any, max_data_size: int = _MOST) -> None:
    """Parse a body as JSON and set the value as ``request.json``.

    Raises ``HTTPError`` 400 if it isn't JSON, 413 if it is longer than ``max_data_size`` bytes.
    """
    data: bytes = entity.fp.read(max_data_size + 1)
    if len(data) > max_data_size:
        raise HTTPError(413, f"A JSON document may have {max_data_size} bytes at most.")
    try:
        serving.request.json = decode(data.decode())
    except (ValueError, RecursionError):
        raise HTTPError(400, "Invalid JSON document") from None


def json_in(
    content_type: Strings = _TYPES,
    force: bool = True,
    debug: bool = False,
    processor: Callable[[Any], object] = json_processor,
    max_data_size: int = _MOST,
) -> None:
    """The tool ``json_in``: parse JSON bodies and set the value as ``request.json``.

    ``content_type``: the media types of JSON bodies.
    ``force``: whether bodies of other types are rejected with a 415; if False, they are parsed as
        without this tool.
    ``processor``: a function that is called with the body, an object with ``fp``, ``headers`` and
        ``length``.
    ``max_data_size``: the maximum size of a body in bytes. For a longer one the client gets a 413,
        because parsing takes many times as much memory.
    """
    types = listed(content_type)
    body = serving.request.body

    def refuse() -> None:
        raise HTTPError(415, f"Expected an entity of content type {', '.join(types)}")

    if force:
        body.processors.clear()
        body.default_proc = refuse
    for each in types:
        body.processors[each] = (
            partial(json_processor, max_data_size=max_data_size)
            if processor is json_processor
            else processor
        )


def json_handler(*args: object, **kwargs: object) -> object:
    """Call the handler, and return its result as JSON."""
    return then(serving.request._json_inner_handler(*args, **kwargs), encoded)


def encoded(value: object) -> object:
    """Return a value encoded as JSON, in UTF-8, as a body."""
    return _encode(value).encode() if encode is _ENCODE else encode(value)


def json_out(
    content_type: str | None = "application/json",
    debug: bool = False,
    handler: AnyFunction = json_handler,
) -> None:
    """The tool ``json_out``: send the handler's result as JSON.

    ``content_type``: the media type to set; None leaves the header unchanged.
    ``handler``: a function that calls the original handler, ``request._json_inner_handler``, and
        returns the JSON as a string or bytes.
    """
    request = serving.request
    if request.handler is None:  # another tool has set the response
        return
    request._json_inner_handler = request.handler
    request.handler = handler
    if content_type is not None:
        serving.response.headers["Content-Type"] = content_type


def encode(value: object) -> Iterable[bytes]:
    """Yield a value's JSON as the only chunk of a body. Programs replace this function."""
    yield _encode(value).encode()


_ENCODE = encode
