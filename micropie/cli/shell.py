"""``micropie shell app:app``: Python, with the application and a test client at hand."""

from __future__ import annotations

import code
import sys
from argparse import Namespace
from importlib import import_module
from importlib.util import find_spec

from micropie.cli.target import find_target


def execute(arguments: Namespace) -> int:
    """Run an interactive interpreter, IPython's if it is installed, until it is left."""
    target = find_target(arguments.target, arguments.factory)
    names: dict[str, object] = {"app": target.app}
    text = f"Python {sys.version.split()[0]}, {target.name}: app"
    if find_spec("httpx") is not None:
        client = import_module("micropie.testing").TestClient(target.app)
        names["client"] = client
        text += ', client (client.get("/"))'
    try:
        if find_spec("IPython") is not None:
            import_module("IPython").start_ipython(argv=["--no-banner"], user_ns=names)
        else:
            code.interact(banner=text, local=names, exitmsg="")
    finally:
        if "client" in names:
            client.close()
    return 0
