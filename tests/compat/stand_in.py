"""Put a compat module in the place of the framework it stands in for.

``stand_in("bottle")`` makes ``import bottle`` give ``micropie.compat.bottle``, and ``from cherrypy.lib.static import
serve_file`` the module below ``micropie.compat.cherrypy``. It changes the whole process, so that it is for processes
that a test starts. As a program it runs another one so::

    python -m tests.compat.stand_in bottle -m some.application --port 8080
"""

from __future__ import annotations

import importlib
import runpy
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

COMPAT = "micropie.compat"


class StandIn(MetaPathFinder, Loader):
    """Find the modules of one framework below ``micropie.compat``."""

    def __init__(self, framework: str, name: str) -> None:
        self._framework = framework
        self._name = name

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Claim the framework and its submodules; leave all other names to the other finders."""
        if fullname != self._name and not fullname.startswith(f"{self._name}."):
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the compat module itself: both names are one module."""
        module = importlib.import_module(f"{COMPAT}.{self._framework}{spec.name.removeprefix(self._name)}")
        self._identity = (module.__spec__, module.__loader__)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back, which the import system has just replaced. It has run already."""
        module.__spec__, module.__loader__ = self._identity


def stand_in(framework: str, name: str = "") -> None:
    """Let ``micropie.compat.<framework>`` stand in for the module ``name`` from now on.

    ``name`` is the framework's own, unless an application carries a copy of the framework under another one. A module
    that is imported already can't be replaced.
    """
    name = name or framework
    if name in sys.modules:
        raise RuntimeError(f"{name} is imported already")
    sys.meta_path.insert(0, StandIn(framework, name))


def main() -> None:
    """Run a module as ``python -m`` does, with the framework replaced."""
    framework, option, module, *rest = sys.argv[1:]
    if option != "-m":
        raise SystemExit("usage: python -m tests.compat.stand_in FRAMEWORK -m MODULE [ARGUMENT ...]")
    stand_in(framework)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
