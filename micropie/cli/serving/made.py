"""The application that a factory makes, under a name by which a server's own processes import it."""

from __future__ import annotations

import os
from importlib import import_module

# Set in the process that serves: an ``app.run()`` without ``if __name__ == "__main__"`` must not serve once more there.
IS_SERVING = "MICROPIE_SERVING"

# Set for the processes that this one starts: the factory, "shop:make_app".
FACTORY = "MICROPIE_MADE_BY"


def name_for_processes(factory: str, made: object) -> str:
    """Return the name by which processes import the application that ``factory`` makes. This one has ``made`` it."""
    os.environ[FACTORY] = factory
    globals()["app"] = made
    return f"{__name__}:app"


def _make(factory: str) -> object:
    module, _, attribute = factory.partition(":")
    found: object = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    assert callable(found)  # noqa: S101 - the command has called it
    return found()


# A plain attribute: hypercorn looks for no other.
if IS_SERVING in os.environ and FACTORY in os.environ:
    app = _make(os.environ[FACTORY])
