"""The routes of an application, and what the values of a parameter are made by."""

from __future__ import annotations

from micropie.binding import Converter, converter_for, without_aliases
from micropie.discovery import marks_of
from micropie.routing import AppBase, Config, RouteEntry, Site


def routes(app: AppBase, *, websockets: bool = False, inside: bool = False) -> list[RouteEntry]:
    """Return the routes of the tree that ``app`` is in, or with ``websockets`` those of WebSockets,
    each once with its methods; with ``inside`` only those of ``app`` and of the applications inside
    it on the same host.

        for one in routes(app):
            print(one.methods, one.route.pattern, one.route.name)

    ``route.function`` is the author's function, below its decorators. Isolated mounts have trees of
    their own. Raises ``SetupError`` as the first request does, and with ``inside`` ``LookupError``
    for an application in several places, outside of requests.
    """
    site: Site = app._micropie.root()._micropie.site
    entries = site.entries(takes_socket=websockets)
    if not inside:
        return entries
    own: Config = app._micropie.config()
    return [one for one in entries if one.route.config.is_inside(own)]


def has_route(function: object) -> bool:
    """Return whether the decorator of a route is above a function, such as ``@get``, be it in an
    application or not.

        if has_route(function):
            print(function.__name__, "is a handler")
    """
    return bool(marks_of(function))


def converter_of(annotation: object) -> Converter:
    """Return what converts text to a type that a handler's parameter may have.

        number = converter_of(int).from_text("5")

    ``from_text(text)`` returns the value, and raises ``ValueError`` for anything but what is
    ``expected``, which is a text such as "a whole number". ``many`` is None, or a function that
    makes a list, a tuple or a set of converted values. ``schema`` is the JSON Schema of a type
    alone, such as ``{"type": "integer"}``, and None for a type that is made of others. Raises
    ``SetupError`` for a type that text can't be converted to.
    """
    return converter_for(without_aliases(annotation))
