"""gunicorn's configuration for its gthread worker: ``gunicorn -c python:micropie.wsgi.gunicorn -k gthread module:app``.

WSGI has no word for the end of a server. So gunicorn waits for open streams until its grace is over, and breaks them
off. A configuration of your own imports the function: ``from micropie.wsgi.gunicorn import post_worker_init``.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from importlib import import_module
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any

from micropie.wsgi.state import end_streams


def post_worker_init(worker: object) -> None:
    """Have SIGTERM end the streams and subscriptions of this worker, and then do what it did before.

    gunicorn calls this in the main thread, the only one that can handle signals; no request is ever there.
    """
    told: SimpleQueue[None] = SimpleQueue()  # its ``put`` may interrupt any code, another ``put`` as well
    end_gracefully: Any = signal.getsignal(signal.SIGTERM)

    def wait_for_end() -> None:
        told.get()
        end_streams()

    def handle(number: int, frame: FrameType | None) -> None:
        told.put(None)
        end_gracefully(number, frame)

    Thread(target=wait_for_end, name="micropie-end", daemon=True).start()
    signal.signal(signal.SIGTERM, handle)
    signal.siginterrupt(signal.SIGTERM, False)


def run_gunicorn(app: object, settings: Mapping[str, object]) -> None:
    """Serve ``app`` by gunicorn with these settings, from this process, until it is told to end."""
    base = import_module("gunicorn.app.base").BaseApplication

    class Served(base):  # type: ignore[misc, valid-type]
        def load_config(self) -> None:
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> object:
            return app

    Served().run()
