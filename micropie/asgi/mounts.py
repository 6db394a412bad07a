"""Where a step MOUNT leads under ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.asgi.mounted import answer_of_asgi
from micropie.asgi.wsgiapps import answer_of_wsgi
from micropie.mounting import WSGI, Place
from micropie.response import Response
from micropie.site import MountRoute

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest


async def answer_of(route: MountRoute, request: ASGIRequest, place: Place) -> Response:
    """The answer of the application that is mounted at ``route``."""
    if route.mount.kind == WSGI:
        return await answer_of_wsgi(route.mount, route.threads, place, request)
    return await answer_of_asgi(route.mount, place, request)
