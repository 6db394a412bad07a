"""A name by which a server's processes can import an application that a factory makes, or that
needs a compatibility module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from operator import attrgetter
from typing import Any

from micropie.cli.serving.options import Target

# Set in the process that serves. A module with ``app.run()`` but without ``if __name__ ==
# "__main__"`` must not serve once more there.
IS_SERVING = "MICROPIE_SERVING"

# Set for the processes that this one starts: the factory, "shop:make_app"; or the framework whose
# compatibility module is installed before anything imports it, and the application, "shop:app", or
# the program that makes it, "shop.py".
FACTORY, STAND_IN, STAND_IN_FOR = "MICROPIE_MADE_BY", "MICROPIE_STAND_IN", "MICROPIE_STAND_IN_FOR"


def started_by(framework: str, name: str, load: Callable[[str], object] | None = None) -> Any:
    """Return what a program of another framework starts, None for nothing."""
    return import_module("micropie.compat").started_by(framework, name, load)


def install_stand_in(framework: str) -> None:
    """Let every import of a framework return its compatibility module.

    Only a migrated application needs ``micropie.compat``, so nothing else of the command line
    imports it.
    """
    import_module("micropie.compat").install(framework)


def name_for_processes(target: Target, stand_in: str | None) -> str:
    """Return the name by which other processes import the application of ``target``: that of an
    attribute of this module.
    """
    assert target.name is not None  # noqa: S101 - the command has imported it by this name
    if target.made_as is not None:
        os.environ[FACTORY] = target.name
    if stand_in is not None:
        os.environ |= {STAND_IN: stand_in, STAND_IN_FOR: target.name}
    globals()["app"] = target.app if target.made_as is None else target.made_as
    return f"{__name__}:app"


def _found() -> object:
    if STAND_IN_FOR in os.environ:
        install_stand_in(os.environ[STAND_IN])
        if FACTORY not in os.environ:
            name = os.environ[STAND_IN_FOR]
            load = None if name.endswith(".py") else _attribute
            return started_by(os.environ[STAND_IN], name, load).native
    found = _attribute(os.environ.get(FACTORY) or os.environ[STAND_IN_FOR])
    return found() if FACTORY in os.environ and callable(found) else found


def _attribute(name: str) -> object:
    module, _, attribute = name.partition(":")
    return attrgetter(attribute)(import_module(module))


# A plain attribute, because hypercorn looks for nothing else.
if IS_SERVING in os.environ and not {FACTORY, STAND_IN_FOR}.isdisjoint(os.environ):
    app = _found()
