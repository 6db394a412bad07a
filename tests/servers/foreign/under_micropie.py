"""All of them, mounted on one application.

``FOREIGN_PORTAL`` is the event loop of those that are ASGI, under WSGI.
"""

from __future__ import annotations

import os

from micropie import App
from tests.servers.foreign import bottles, cherry, djangos, fast, flasks, stars

app = App(portal_backend=os.environ.get("FOREIGN_PORTAL", "asyncio"))
for prefix, target in [
    (cherry.PREFIX, cherry.app),
    (bottles.PREFIX, bottles.app),
    (flasks.PREFIX, flasks.app),
    (djangos.PREFIX_WSGI, djangos.wsgi),
    (djangos.PREFIX_ASGI, djangos.asgi),
    (stars.PREFIX, stars.app),
    (fast.PREFIX, fast.app),
]:
    app.mount(prefix, target)
