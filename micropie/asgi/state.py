"""The part of an application that the driver changes.

A module of its own: WSGI needs nothing else of this package.
"""

from __future__ import annotations

from micropie._core.routing import Site


class ASGIState:
    """An application under ASGI.

    ``site`` is for the hot path: None until started, and after a change.
    """

    def __init__(self) -> None:
        self.site: Site | None = None
        self.started = False
