"""The package ``micropie_compat``, which programs of other frameworks need. It is a distribution of
its own, and no other module of micropie imports it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from micropie.cli.serving.options import ServingError

PACKAGE = "micropie_compat"

# Modules that call each other to run a program, outermost first.
_RUN_PROGRAMS = ("micropie.cli.serving.made", f"{PACKAGE}.stand_in", f"{PACKAGE}.programs")


def import_compat(module: str = "") -> Any:
    """Import ``micropie_compat`` or, for "moving" for example, one of its modules.

    Raises ``ServingError`` if the package isn't installed.
    """
    try:
        package = import_module(PACKAGE)
    except ModuleNotFoundError as error:
        if error.name != PACKAGE:
            raise
        raise ServingError(
            "programs for another framework need the package micropie-compat. Install both from "
            "your clone: pip install path/to/micropie path/to/micropie/compat"
        ) from None
    return import_module(f"{PACKAGE}.{module}") if module else package


def is_of_compat(file: str) -> bool:
    """Return whether ``file`` is a module of ``micropie_compat``."""
    package = sys.modules.get(PACKAGE)
    return package is not None and Path(package.__path__[0]) in Path(file).parents


def runs_programs(file: str) -> bool:
    """Return whether ``file`` is one of the modules that run another framework's program."""
    modules = [sys.modules.get(name) for name in _RUN_PROGRAMS]
    return any(module is not None and module.__file__ == file for module in modules)
