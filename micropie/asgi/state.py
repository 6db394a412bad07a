"""What the ASGI driver stores about an application.

It is a separate module, because WSGI needs nothing else of this package.
"""

from __future__ import annotations

from micropie._core.routing import Site


class ASGIState:
    """The state of an application under ASGI.

    ``site`` is None until the application has started, and after a change; requests use it
    directly.
    """

    def __init__(self) -> None:
        self.site: Site | None = None
        self.started = False
