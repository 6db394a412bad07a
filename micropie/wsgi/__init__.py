"""The WSGI driver: an environ in, the flow driven in the server's thread, an iterable out (PEP 3333)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.lazily import lazily

if TYPE_CHECKING:
    from micropie.wsgi.driver import serve_http, start_and_serve
    from micropie.wsgi.gunicorn import post_worker_init, run_gunicorn
    from micropie.wsgi.lifespan import WSGIState

__all__ = ["WSGIState", "post_worker_init", "run_gunicorn", "serve_http", "start_and_serve"]

__getattr__ = lazily(
    __name__,
    {
        "driver": "serve_http start_and_serve",
        "gunicorn": "post_worker_init run_gunicorn",
        "lifespan": "WSGIState",
    },
)
