"""Modules that tests make, or write into temporary folders and import in this process: most of
these are named ``app``.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def made_module(name: str) -> ModuleType:
    """Return an empty module for code that a test passes to ``exec``.

    It has no spec, because in a traceback Python 3.15 warns of one without a loader.
    """
    module = ModuleType(name)
    del module.__spec__, module.__loader__
    return module


def forget_temporary_modules() -> None:
    """Let the next import of such a name find another test's file."""
    for name, module in [*sys.modules.items()]:
        if "pytest-of-" in str(getattr(module, "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()
