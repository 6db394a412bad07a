"""Find the application in a program that starts its own server, for the command ``micropie run
--stand-in bottle shop.py``.

The program is run until it calls ``run()``, ``quickstart()`` or ``engine.start()``. Instead of
serving, these functions raise ``Started``, which contains the application.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from micropie import App, dual
from micropie_compat.carrier import Carried


class Started(BaseException):
    """Raised to stop a program instead of starting its server.

    ``app``: the application to serve.
    ``host``, ``port``: where to serve the application. Each is None if the program doesn't set it.
    """

    def __init__(self, app: Any, host: str | None = None, port: int | None = None) -> None:
        self.app = app
        self.host = host
        self.port = port

    @property
    def native(self) -> App:
        """The ``micropie.App`` that servers call to run the application."""
        if isinstance(self.app, Carried):
            return self.app.native
        return self.app if isinstance(self.app, App) else dual(self.app)


_readers: list[str] = []


def end_if_read(app: object, host: str, port: int) -> None:
    """Raise ``Started`` with an application if ``find`` is running the program."""
    if _readers:
        raise Started(app, host, port)


def find(framework: str, name: str, load: Callable[[str], object] | None = None) -> Started | None:
    """Run the program in the file ``name``, and return the application that it starts. If it starts
    none, return the default application, or None if the default application has no routes.

    ``load``: a function to call with ``name``, such as "shop:app", instead of running a file. The
        function imports the module and returns the application. If the module starts an application
        during the import, ``find`` returns the started application.
    """
    _readers.append(name)
    try:
        if load is not None:
            return Started(load(name))
        _run(name)
        module = import_module(f"{__package__}.{framework}")
        if framework == "cherrypy":
            return Started(module.tree) if module.tree.apps else None
        return Started(module.default_app()) if module.default_app().routes else None
    except Started as started:
        return started
    finally:
        _readers.pop()


def _run(file: str) -> None:
    """Run a program, as ``python shop.py`` does."""
    arguments, sys.argv = sys.argv, [file]
    try:
        runpy.run_path(file, run_name="__main__")
    finally:
        sys.argv = arguments
