"""Support for PyInstaller. When it freezes a program that imports ``micropie_compat``, it calls
``hook_directories`` through this package's entry point ``pyinstaller40``.

``hooks/hook-micropie_compat.py`` lists the modules that such a program needs.
"""

from __future__ import annotations

from pathlib import Path


def hook_directories() -> list[str]:
    """Return the folder with ``hook-micropie_compat.py``."""
    return [str(Path(__file__).with_name("hooks"))]
