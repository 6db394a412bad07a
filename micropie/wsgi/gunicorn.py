"""A configuration for gunicorn's WSGI workers: ``gunicorn -c python:micropie.wsgi.gunicorn -k
gthread module:app``.

WSGI has no way to announce that a server is shutting down. So without this module, gunicorn waits
for open streams until its ``graceful_timeout`` has passed, and then aborts them, and applications
shut down while Python exits, when some functions fail. In your own configuration, import the
functions: ``from micropie.wsgi.gunicorn import post_worker_init, worker_exit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from threading import Thread
from time import sleep
from typing import Any

from micropie.wsgi.state import end_streams, stop_applications

_CHECK_EVERY = 0.1  # seconds between two checks


def post_worker_init(worker: Any) -> None:
    """End the streams and subscriptions of this gunicorn worker when the worker ends, either
    because of a signal or after ``--max-requests`` requests. A thread checks for both cases,
    because gunicorn sends no signal in the second.
    """

    def wait_for_end() -> None:
        while worker.alive:
            sleep(_CHECK_EVERY)
        end_streams()

    Thread(target=wait_for_end, name="micropie-end", daemon=True).start()


def worker_exit(_: object, worker: Any) -> None:
    """Shut down this gunicorn worker's applications, unless a request that is still running, after
    the grace period, needs them: then they shut down when Python exits.
    """
    if not getattr(worker, "nr_conns", 0):  # only gthread's workers have connections
        stop_applications()


def run_gunicorn(app: object, settings: Mapping[str, object]) -> None:
    """Serve ``app`` with gunicorn until gunicorn is stopped. This process becomes gunicorn's main
    process. When a worker ends, its open streams and its application end as well.

        run_gunicorn(app, {"bind": ["127.0.0.1:8000"], "workers": 2})

    ``settings``: gunicorn's settings, by their names in its configuration files. Raises
    ``ImportError`` if gunicorn is not installed.
    """
    base = import_module("gunicorn.app.base").BaseApplication

    class Served(base):  # type: ignore[misc, valid-type]
        def load_config(self) -> None:
            self.cfg.set("post_worker_init", post_worker_init)
            self.cfg.set("worker_exit", worker_exit)
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> object:
            return app

    Served().run()
