"""Give an application a name by which a server's worker processes can import it. This also works if
a factory returns the application, or if the application needs a compatibility module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter

from micropie.cli.migrated import import_compat
from micropie.cli.serving.options import ServingError, Target

# This variable is set in the serving process, so that a module with ``app.run()`` but without ``if
# __name__ == "__main__"`` doesn't start a second server when it is imported.
IS_SERVING = "MICROPIE_SERVING"

# The environment variables from which worker processes get the application.
#
# ``FACTORY``: the name of a factory, "shop:make_app".
# ``STAND_IN``: the framework whose compatibility module must be installed first.
# ``STAND_IN_FOR``: what needs that module: an application, "shop:app", or a program, "shop.py".
FACTORY, STAND_IN, STAND_IN_FOR = "MICROPIE_MADE_BY", "MICROPIE_STAND_IN", "MICROPIE_STAND_IN_FOR"


@contextmanager
def without_serving() -> Iterator[None]:
    """Return a context manager in which ``app.run()`` does nothing."""
    is_outermost = IS_SERVING not in os.environ
    os.environ[IS_SERVING] = "1"
    try:
        yield
    finally:
        if is_outermost:
            del os.environ[IS_SERVING]


def install_stand_in(framework: str) -> None:
    """Make all later imports of a framework import its compatibility module instead, see
    ``micropie_compat.install``. Raises ``ServingError`` if that is impossible.
    """
    try:
        import_compat().install(framework)
    except (ValueError, RuntimeError) as error:
        raise ServingError(f"--stand-in {framework}: {error}") from None


def name_for_processes(target: Target, stand_in: str | None) -> str:
    """Set an attribute of this module to the application of ``target``, and return the name by
    which other processes can import it.
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
            load = None if name.endswith(".py") else attribute
            return import_compat().started_by(os.environ[STAND_IN], name, load).native
    found = attribute(os.environ.get(FACTORY) or os.environ[STAND_IN_FOR])
    return found() if FACTORY in os.environ and callable(found) else found


def attribute(name: str) -> object:
    """Import the object named ``name``, such as "shop:app"."""
    module, _, path = name.partition(":")
    return attrgetter(path)(import_module(module))


# Set the attribute here, because hypercorn doesn't call a module's ``__getattr__``.
if IS_SERVING in os.environ and not {FACTORY, STAND_IN_FOR}.isdisjoint(os.environ):
    app = _found()
