"""``micropie run app:app``"""

from __future__ import annotations

from argparse import Namespace

from micropie.cli.serving.options import Options
from micropie.cli.serving.run import serve
from micropie.cli.target import find_target


def execute(arguments: Namespace) -> int:
    """Serve the application until the process is told to end."""
    options = Options(
        host=arguments.host,
        port=arguments.port,
        server=arguments.server,
        loop=arguments.loop,
        workers=arguments.workers,
        wsgi=arguments.wsgi,
        root_path=arguments.root_path,
        ssl_certfile=arguments.ssl_certfile,
        ssl_keyfile=arguments.ssl_keyfile,
    )
    serve(find_target(arguments.target), options, reload=arguments.reload)
    return 0
