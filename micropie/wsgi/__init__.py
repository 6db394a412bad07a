"""The WSGI driver: an environ in, the flow driven in the server's thread, an iterable out (PEP 3333)."""

from micropie.wsgi.driver import serve_http, start_and_serve
from micropie.wsgi.gunicorn import post_worker_init, run_gunicorn
from micropie.wsgi.lifespan import WSGIState

__all__ = [
    "WSGIState",
    "post_worker_init",
    "run_gunicorn",
    "serve_http",
    "start_and_serve",
]
