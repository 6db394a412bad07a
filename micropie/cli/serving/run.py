"""``serve``: choose a server, print its name and its address, and run it."""

from __future__ import annotations

import inspect
import os
import secrets
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from micropie import App, SetupError
from micropie.cli.serving.made import IS_SERVING, without_serving
from micropie.cli.serving.options import Options, ServingError, Target
from micropie.cli.serving.places import checked_place
from micropie.cli.serving.reloading import CHILD_PORT, run_and_reload
from micropie.cli.serving.servers import ASGI, WSGI, Server, choose
from micropie.cli.serving.unshared import in_memory
from micropie.extensions import Inspector, Outside

DEBUG_KEY = "MICROPIE_DEBUG_KEY"


def serve(target: Target, options: Options, reload: bool = False) -> None:
    """Serve ``target`` until the process is stopped.

    Raises ``ServingError`` if no server can fulfil the options. Also raises the application's
    ``SetupError`` here, because a server would print a traceback.

    ``reload``: whether to run this command in a child process, which is restarted when a module's
        file has changed.
    """
    if os.environ.get(IS_SERVING):
        return
    server = choose(options)
    # Remove slashes at the end: no path would begin with the root path of uvicorn and gunicorn.
    options = replace(checked_place(options), root_path=options.root_path.rstrip("/"))
    # Choose the key of the debug pages here, so that all processes that are started later share it.
    key = os.environ[DEBUG_KEY] = os.environ.get(DEBUG_KEY) or secrets.token_urlsafe(16)
    if reload and options.workers > 1:
        raise ServingError(
            "reload works only with one worker: set workers to 1, or leave out reload"
        )
    if reload and CHILD_PORT not in os.environ:
        run_and_reload(options)
        return
    _check_call(target.app, server.protocol)
    if server.protocol == WSGI:
        Outside(target.app)  # raises a SetupError here instead of in each worker process
    inspector = Inspector(target.app)
    inside, entries = inspector.applications(), inspector.routes()
    for kind, advice in in_memory(target.app).items() if options.workers > 1 else ():
        print(
            f"micropie: each worker keeps its own {kind} in memory; to share them, {advice}",
            file=sys.stderr,
        )
    announcement = _announcement(server, target, options)
    for entry in entries if inside[0].settings.debug else ():
        if entry.route.name != "_debug":
            continue
        path = entry.route.pattern.replace("<key>", key)
        origin = f"http://localhost:{options.port}" if options.has_port else ""
        announcement += f"\nTo see debug pages, open {origin}{options.root_path}{path}"
    print(announcement, file=sys.stderr, flush=True)
    with suppress(KeyboardInterrupt), without_serving():
        server.start(target, options)
    # waitress and wsgiref have ended in this process. While Python exits, asyncio has no threads.
    with suppress(Exception):  # any failure has been logged
        cast(App, inside[0].app).wsgi_shutdown()


_ARGUMENTS = {ASGI: ("scope", "receive", "send"), WSGI: ("environ", "start_response")}


def _check_call(app: object, protocol: str) -> None:
    """Raise ``SetupError`` for a class whose ``__call__`` refuses the arguments of a server."""
    call, arguments = type(app).__call__, _ARGUMENTS[protocol]
    try:
        Inspector.signature_of(call).bind(app, *arguments)
        is_callable = protocol == ASGI or not inspect.iscoroutinefunction(call)
    except TypeError:
        is_callable = False
    if not is_callable:
        raise SetupError(
            f"{call.__qualname__} can't be called with ({', '.join(arguments)}), as {protocol} "
            "servers do: rename this method, or write def __call__(self, scope, receive, "
            "send=None), as in App"
        )


def _announcement(server: Server, target: Target, options: Options) -> str:
    scheme = "https" if options.ssl_certfile else "http"
    name = target.name or type(target.app).__name__
    loop = f" on {options.loop or server.loops[0]}" if server.protocol == ASGI else ""
    workers = f", {options.workers} workers" if options.workers > 1 else ""
    place = f"{scheme}://{options.place}" if options.has_port else options.place
    text = f"{name}: {place}{options.root_path}  ({server.name}, {server.protocol}{loop}{workers})"
    if server.package is None:
        better = "gunicorn" if options.wsgi else "uvicorn"
        text += (
            "\nThis server is for trying things out: it has no WebSockets and one process. "
            f"Install a better one: pip install {better}"
        )
    elif server.protocol != ASGI and not options.wsgi and options.server is None:
        text += "\nNo ASGI server is installed, so there are no WebSockets: pip install uvicorn"
    elif options.loop == "trio":  # explained in docs/deploy/each-server.md
        text += (
            "\nA single malformed packet stops hypercorn on trio. Use asyncio if the server is "
            "reachable from the internet"
        )
    return text


# -- ``app.run()``: from the application's own script ----------------------------------------------


def run_app(app: object, options: dict[str, Any], reload: bool) -> None:
    """Serve ``app`` until the process is stopped.

    If that is impossible, the process exits with one sentence that gives the reason.
    """
    try:
        serve(Target(app, _name_of(app)), Options(**options), reload)
    except (ServingError, SetupError) as error:
        raise SystemExit(f"micropie: {error}") from None


def _name_of(app: object) -> str | None:
    """Return the name by which another process can import an application defined in the running
    script, or None.
    """
    main = sys.modules["__main__"]
    attribute = next((name for name, value in vars(main).items() if value is app), None)
    if attribute is None:
        return None
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # started as ``python -m shop.site``
        return f"{spec.name}:{attribute}"
    file = getattr(main, "__file__", None)
    return None if file is None else f"{Path(file).stem}:{attribute}"
