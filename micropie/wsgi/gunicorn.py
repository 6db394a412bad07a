"""gunicorn's configuration for its gthread worker: ``gunicorn -c python:micropie.wsgi.gunicorn -k
gthread module:app``.

WSGI has no word for the end of a server. So gunicorn waits for open streams until its grace is
over, and breaks them off. A configuration of your own imports the function:
``from micropie.wsgi.gunicorn import post_worker_init``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from threading import Thread
from time import sleep
from typing import Any

from micropie.wsgi.state import end_streams

_LOOK_EVERY = 0.1  # seconds


def post_worker_init(worker: Any) -> None:
    """Have the streams and subscriptions of this gunicorn worker end when it ends: by a signal, or
    after so many requests as ``--max-requests`` says, of which no signal tells.
    """

    def wait_for_end() -> None:
        while worker.alive:
            sleep(_LOOK_EVERY)
        end_streams()

    Thread(target=wait_for_end, name="micropie-end", daemon=True).start()


def run_gunicorn(app: object, settings: Mapping[str, object]) -> None:
    """Serve ``app`` by gunicorn, from this process, until it is told to end.

    ``settings``: gunicorn's, by their names in its configuration: ``{"bind": "127.0.0.1:8000"}``.
    The streams of a worker end with it, unless ``post_worker_init`` is another function. Raises
    ``ModuleNotFoundError`` without gunicorn.
    """
    base = import_module("gunicorn.app.base").BaseApplication

    class Served(base):  # type: ignore[misc, valid-type]
        def load_config(self) -> None:
            for name, value in {"post_worker_init": post_worker_init, **settings}.items():
                self.cfg.set(name, value)

        def load(self) -> object:
            return app

    Served().run()
