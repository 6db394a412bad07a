"""``ASGIState``: the state that the ASGI driver stores for an application.

It is a separate module, because WSGI needs nothing else of ``micropie.asgi``.
"""

from __future__ import annotations

import anyio

from micropie._core.execution import LoopLocal
from micropie._core.routing import Site


class ASGIState:
    """The state of an application under ASGI.

    - ``site``: the site that handles requests. It is None until the application has started. When
      the application is changed, ``site`` becomes None again until the next request.
    - ``started``: whether startup has run.
    - ``lifespans``: how many servers or test clients have started the application by the lifespan
      protocol and haven't stopped it.
    - ``starting``: each event loop's lock, which a request holds while it starts the application.
    """

    def __init__(self) -> None:
        self.site: Site | None = None
        self.started = False
        self.lifespans = 0
        self.starting = LoopLocal(lambda: anyio.Lock())  # noqa: PLW0108 - imported on first access
