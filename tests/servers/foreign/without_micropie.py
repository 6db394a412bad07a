"""Those that are WSGI in one process, each below its prefix by what comes with Werkzeug."""

from __future__ import annotations

from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tests.servers.foreign import bottles, cherry, djangos, flasks

# CherryPy's tree finds its applications by the whole path.
app = DispatcherMiddleware(
    cherry.app,
    {bottles.PREFIX: bottles.app, flasks.PREFIX: flasks.app, djangos.PREFIX_WSGI: djangos.wsgi},
)
