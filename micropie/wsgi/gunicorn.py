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
    """Serve ``app`` by gunicorn, from this process, until it is told to end: open streams end with
    their worker.

        run_gunicorn(app, {"bind": ["127.0.0.1:8000"], "workers": 2})

    ``settings`` are gunicorn's, by the names that its configuration has. Raises ``ImportError`` if
    gunicorn is missing.
    """
    base = import_module("gunicorn.app.base").BaseApplication

    class Served(base):  # type: ignore[misc, valid-type]
        def load_config(self) -> None:
            self.cfg.set("post_worker_init", post_worker_init)
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> object:
            return app

    Served().run()
