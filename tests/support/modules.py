"""Modules that tests write into temporary folders, and import in this process: most are named
``app``.
"""

from __future__ import annotations

import importlib
import sys


def forget_temporary_modules() -> None:
    """Let the next import of such a name find another test's file."""
    for name, module in [*sys.modules.items()]:
        if "pytest-of-" in str(getattr(module, "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()
