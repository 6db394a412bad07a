"""The WSGI driver. It turns an environ into a request, performs the flow's steps in the server's
thread, and returns an iterable (PEP 3333).

Open ``driver.py`` to change how a request is served and how a response is returned. The other
files:

- ``exchange.py``: what is read from an environ
- ``steps.py``: how steps are performed
- ``streaming.py``: async streams
- ``files.py``: files that the server sends
- ``lifespan.py`` and ``state.py``: startup and shutdown
- ``simple_server.py``: a server based on the standard library
- ``gunicorn.py``: a configuration for gunicorn
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.wsgi.driver import serve_http, start_and_serve
    from micropie.wsgi.exchange import WSGIExchange
    from micropie.wsgi.gunicorn import run_gunicorn
    from micropie.wsgi.simple_server import StrictHandler, open_server
    from micropie.wsgi.state import WSGIState
    from micropie.wsgi.steps import perform

__all__ = [
    "StrictHandler",
    "WSGIExchange",
    "WSGIState",
    "open_server",
    "perform",
    "run_gunicorn",
    "serve_http",
    "start_and_serve",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "driver": "serve_http start_and_serve",
        "exchange": "WSGIExchange",
        "gunicorn": "run_gunicorn",
        "simple_server": "StrictHandler open_server",
        "state": "WSGIState",
        "steps": "perform",
    },
)
