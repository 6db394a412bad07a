"""``ASGIState``: the state that the ASGI driver stores for an application.

It is a separate module, because WSGI needs nothing else of ``micropie.asgi``.
"""

from __future__ import annotations

from micropie._core.routing import Site


class ASGIState:
    """The state of an application under ASGI.

    - ``site``: the site that handles requests. It is None until the application has started. When
      the application is changed, ``site`` becomes None again until the next request.
    - ``started``: whether startup has run.
    - ``lifespans``: how many servers or test clients have started the application by the lifespan
      protocol and haven't stopped it.
    """

    def __init__(self) -> None:
        self.site: Site | None = None
        self.started = False
        self.lifespans = 0
