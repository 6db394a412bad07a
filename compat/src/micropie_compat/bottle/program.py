"""``run`` serves an application; ``load_app`` imports one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import Any

from micropie_compat.bottle.app import default_app
from micropie_compat.bottle.server import CHILD, adapter_for, load, run_again, watched
from micropie_compat.bottle.server import debug as set_debug
from micropie_compat.bottle.state import face
from micropie_compat.programs import end_if_read
from micropie_compat.results import Values


def load_app(target: str) -> Any:
    """Import ``module:name``, or a module that adds routes to the default application. Return the
    application.
    """
    before, face().NORUN = face().NORUN, True
    made = default_app.push()
    try:
        found = load(target)
        return found if callable(found) else made
    finally:
        default_app.remove(made)
        face().NORUN = before


def run(
    app: object = None,
    server: object = "wsgiref",
    host: str = "127.0.0.1",
    port: int = 8080,
    interval: float = 1,
    reloader: bool = False,
    quiet: bool = False,
    plugins: Iterable[object] | None = None,
    debug: bool | None = None,
    config: Values | None = None,
    **options: object,
) -> None:
    """Serve ``app``, by default the default application, until interrupted.

    ``server``: a name in ``server_names``, a subclass of ``ServerAdapter`` or an instance of one.
    ``options``: passed to the server.
    ``reloader``: whether to check the imported modules' files every ``interval`` seconds, and to
        restart if one has changed.

    Raises ``ValueError`` if the server is unknown or ``app`` can't be called.
    """
    if face().NORUN:
        return
    if debug is not None:
        set_debug(debug)
    application = default_app() if app is None else load_app(app) if isinstance(app, str) else app
    if not callable(application):
        raise ValueError(f"run() takes an application, not {application!r}")
    for plugin in plugins or ():
        application.install(load(plugin) if isinstance(plugin, str) else plugin)
    if config:
        application.config.update(config)
    end_if_read(application, host, port)
    if reloader and not os.environ.get(CHILD):
        sys.exit(run_again())
    adapter = adapter_for(server, host, port, options)
    adapter.quiet = adapter.quiet or quiet
    if not adapter.quiet:
        is_unix = adapter.host.startswith("unix:")
        place = adapter.host if is_unix else f"http://{adapter.host}:{adapter.port}/"
        sys.stderr.write(f"Serving on {place} with {adapter!r}. Press Ctrl-C to stop.\n")
    with watched(interval) if reloader else nullcontext(), suppress(KeyboardInterrupt):
        adapter.run(application)
