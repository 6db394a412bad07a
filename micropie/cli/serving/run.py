"""``serve``: choose a server, say which one and why, and serve until the end."""

from __future__ import annotations

import errno
import os
import socket
import sys
from dataclasses import replace

from micropie.cli.serving.options import Options, ServingError, Target
from micropie.cli.serving.reloading import CHILDS_PORT, run_and_reload
from micropie.cli.serving.servers import ASGI, WSGI, Server, choose
from micropie.execution import HANDLER, INLINE

# Set in the process that serves: an ``app.run()`` without ``if __name__ == "__main__"`` must not serve once more there.
IS_SERVING = "MICROPIE_SERVING"


def serve(target: Target, options: Options, reload: bool = False) -> None:
    """Serve ``target`` until the process is told to end. Raises ``ServingError`` for options that can't be met, and the
    ``SetupError`` of an application that has one: a server would show its traceback.

    ``reload``: run this command in another process, and start it anew when a module's file has changed.
    """
    if os.environ.get(IS_SERVING):
        return
    server = choose(options)
    options = replace(options, port=_checked_port(options))
    if reload and options.workers > 1:
        raise ServingError("reload is for development: use one worker")
    if reload and CHILDS_PORT not in os.environ:
        run_and_reload(options.port)
        return
    target.app._micropie.compiled(INLINE if server.protocol == WSGI else HANDLER)
    print(_announcement(server, target, options), file=sys.stderr, flush=True)
    os.environ[IS_SERVING] = "1"
    try:
        server.start(target, options)
    except KeyboardInterrupt:
        pass
    finally:
        del os.environ[IS_SERVING]


def _announcement(server: Server, target: Target, options: Options) -> str:
    scheme = "https" if options.ssl_certfile else "http"
    name = target.name or type(target.app).__name__
    loop = f" on {options.loop or server.loops[0]}" if server.protocol == ASGI else ""
    workers = f", {options.workers} workers" if options.workers > 1 else ""
    url = f"{scheme}://{options.address}{options.root_path}"
    text = f"{name}: {url}  ({server.name}, {server.protocol}{loop}{workers})"
    if server.package is None:
        better = "gunicorn" if options.wsgi else "uvicorn"
        text += f"\nThis server is for a first look: no WebSockets, one process. Install one: pip install {better}"
    elif server.protocol != ASGI and not options.wsgi and options.server is None:
        text += "\nNo ASGI server is installed, so there are no WebSockets: pip install uvicorn"
    return text


def _checked_port(options: Options) -> int:
    """Return the port to listen on. Raises ``ServingError`` if another program has it."""
    port = int(os.environ.get(CHILDS_PORT, options.port))
    try:
        # As servers open it.
        with socket.socket(options.family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((options.host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        place = f"{options.host}:{port}"
        other = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        raise ServingError(f"can't listen on {place} ({error.strerror or error}): choose another {other}") from None
