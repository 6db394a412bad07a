"""Our side of the conversations for a server: ``compat.tests.serve:wsgi`` and
``compat.tests.serve:asgi``.

``COMPAT_FRAMEWORK`` in the environment names the framework that is replaced. A request names the
application that it is for in a header, so that no application is moved below a prefix for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from compat.tests.play import application
from micropie_compat import install

FRAMEWORK = os.environ["COMPAT_FRAMEWORK"]
CHOICE = "x-application"

logging.disable(logging.CRITICAL)
install(FRAMEWORK)


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Pass a request on to the application that it names."""
    answer: Iterable[bytes] = application(FRAMEWORK, environ["HTTP_X_APPLICATION"])(
        environ, start_response
    )
    return answer


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Pass a request on to the application that it names.

    The server learns that there is no lifespan.
    """
    if scope["type"] != "http":
        raise RuntimeError("no lifespan: the applications start with their first request")
    name = dict(scope["headers"])[CHOICE.encode()].decode()
    await application(FRAMEWORK, name)(scope, receive, send)
