"""The two plugins of every application: one sends dictionaries as JSON, the other renders a route's
``template=``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from json import dumps
from typing import Any, TypeAlias

from micropie_compat.bottle.responses import BaseResponse, HTTPResponse, response
from micropie_compat.bottle.state import BottleException
from micropie_compat.bottle.templates import view
from micropie_compat.results import AnyFunction

Encoder: TypeAlias = Callable[[Any], str]
"""A function that encodes a value as a JSON string."""

_SETTINGS = {
    "json.enable": True,
    "json.ascii": False,
    "json.indent": True,
    "json.dump_func": None,
}


class PluginError(BottleException):
    """Raised for a plugin that can't be installed."""


class JSONPlugin:
    """Send a dictionary that a handler returns as JSON."""

    name = "json"
    api = 2

    def __init__(self, json_dumps: Encoder | None = dumps) -> None:
        self.json_dumps = json_dumps

    def setup(self, app: Any) -> None:
        """Set defaults for the plugin's configuration keys. They have no effect, as in Bottle."""
        for key, value in _SETTINGS.items():
            app.config.setdefault(key, value)

    def apply(self, callback: AnyFunction, route: object) -> AnyFunction:
        """Return a function that calls ``callback`` and encodes the dictionary that it returns.

        This method is called only if this isn't the outermost plugin. For the outermost plugin, the
        route calls ``as_json`` directly, which saves a call in each request.
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
    """Return a handler's result. If it is a dictionary, set the content type, and return the
    dictionary encoded as a JSON string.
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
    """Render the template of a route that was registered with ``template="name"`` or
    ``template=("name", {"template_lookup": [...]})``.
    """

    name = "template"
    api = 2

    def setup(self, app: Any) -> None:
        """Set ``app.tpl`` to this plugin."""
        app.tpl = self

    def apply(self, callback: AnyFunction, route: Any) -> AnyFunction:
        """Return ``callback``, decorated with ``view`` if the route has a template."""
        wanted = route.config.get("template")
        if isinstance(wanted, tuple | list) and len(wanted) == 2:
            name, options = wanted
            return view(name, **options)(callback)
        return view(wanted)(callback) if isinstance(wanted, str) else callback
