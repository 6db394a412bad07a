"""``ASGIState``: what the ASGI driver stores about an application.

It is a separate module, because WSGI needs nothing else of this package.
"""

from __future__ import annotations

from micropie._core.routing import Site


class ASGIState:
    """The state of an application under ASGI.

    ``site`` is None until the application has started, and after it was changed. Otherwise it is
    the site that handles requests.
    """

    def __init__(self) -> None:
        self.site: Site | None = None
        self.started = False
