"""Programs that start a server themselves, read for another server:
``micropie run --stand-in bottle shop.py``.

``run()``, ``quickstart()`` and ``engine.start()`` end such a program where it would begin to serve.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from micropie import App, dual
from micropie.compat.carrier import Carried


class Started(BaseException):
    """Ends a program. ``app``: what it serves, ``host`` and ``port``: where, None if it says
    nothing.
    """

    def __init__(self, app: Any, host: str | None = None, port: int | None = None) -> None:
        self.app = app
        self.host = host
        self.port = port

    @property
    def native(self) -> App:
        """The ``App`` by which servers call the application."""
        if isinstance(self.app, Carried):
            return self.app.native
        return self.app if isinstance(self.app, App) else dual(self.app)


_readers: list[str] = []


def end_if_read(app: object, host: str, port: int) -> None:
    """Raise ``Started`` if the program is only read."""
    if _readers:
        raise Started(app, host, port)


def find(framework: str, name: str, load: Callable[[str], object] | None = None) -> Started | None:
    """Return what the program in a file ``name`` starts, or its default application; None without
    both.

    ``load``: imports ``name``, "shop:app". What it returns is served, or what the module starts.
    """
    _readers.append(name)
    try:
        if load is not None:
            return Started(load(name))
        _run(name)
        return _default_of(framework)
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


def _default_of(framework: str) -> Started | None:
    """Return the default application, or the tree, None if it is empty."""
    module = import_module(f"{__package__}.{framework}")
    if framework == "cherrypy":
        return Started(module.tree) if module.tree.apps else None
    return Started(module.default_app()) if module.default_app().routes else None
