"""The application that the variable SERVED names, with a hook that fails when a request says so, as
any code around a handler may.
"""

from __future__ import annotations

import importlib
import os

from micropie import App, HTTPError, HttpMiddleware, Request
from tests.openapi.provoked import FAIL


class Failing(HttpMiddleware):
    needs_session = False

    async def before_request(self, request: Request) -> None:
        if FAIL in request.headers:
            raise HTTPError(int(request.headers[FAIL]))


module, _, name = os.environ["SERVED"].partition(":")
app: App = getattr(importlib.import_module(module), name)
app.middlewares.insert(0, Failing())
