"""The two plugins that every application has: dictionaries become JSON, ``template=`` of a route
becomes a view.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from json import dumps
from typing import Any, TypeAlias

from micropie.compat.bottle.responses import BaseResponse, HTTPResponse, response
from micropie.compat.bottle.state import BottleException
from micropie.compat.bottle.templates import view

Encoder: TypeAlias = Callable[[Any], str]
"""What makes JSON of a value."""

_SETTINGS = {
    "json.enable": True,
    "json.ascii": False,
    "json.indent": True,
    "json.dump_func": None,
}


class PluginError(BottleException):
    """For plugins that can't be installed."""


class JSONPlugin:
    """Send a dictionary as JSON."""

    name = "json"
    api = 2

    def __init__(self, json_dumps: Encoder | None = dumps) -> None:
        self.json_dumps = json_dumps

    def setup(self, app: Any) -> None:
        """Give the application's configuration the plugin's keys, which change nothing in Bottle
        either.
        """
        for key, value in _SETTINGS.items():
            app.config.setdefault(key, value)

    def apply(self, callback: Callable[..., object], route: object) -> Callable[..., object]:
        """Return a function around ``callback``.

        The router asks for it only if other plugins are around this one.
        """
        encode = self.json_dumps
        if encode is None:
            return callback

        @wraps(callback)
        def wrapper(*args: object, **values: object) -> object:
            try:
                result = callback(*args, **values)
            except HTTPResponse as answer:
                result = answer
            return as_json(result, encode, response)

        return wrapper


def as_json(result: object, encode: Encoder, response: BaseResponse) -> object:
    """Return a handler's result with its dictionary, if it is one, as JSON, and set the content
    type.
    """
    if isinstance(result, dict):
        text = encode(result)
        response._headers["Content-Type"] = ["application/json"]
        return text
    if isinstance(result, HTTPResponse) and isinstance(result.body, dict):
        result.body = encode(result.body)
        result.content_type = "application/json"
    return result


class TemplatePlugin:
    """``@route(..., template="name")``, or ``template=("name", {"template_lookup": [...]})``."""

    name = "template"
    api = 2

    def setup(self, app: Any) -> None:
        """Keep the plugin as ``app.tpl``."""
        app.tpl = self

    def apply(self, callback: Callable[..., object], route: Any) -> Callable[..., object]:
        """Return ``callback``, or a view around it."""
        wanted = route.config.get("template")
        if isinstance(wanted, tuple | list) and len(wanted) == 2:
            name, options = wanted
            return view(name, **options)(callback)
        return view(wanted)(callback) if isinstance(wanted, str) else callback
