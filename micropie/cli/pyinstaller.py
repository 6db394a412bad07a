"""Support for PyInstaller. It calls ``hook_directories``, the entry point ``pyinstaller40`` of this
package, when it freezes a program that imports micropie.

``hooks/hook-micropie.py`` lists the modules that such a program needs.
"""

from __future__ import annotations

from pathlib import Path


def hook_directories() -> list[str]:
    """Return the folder with ``hook-micropie.py``."""
    return [str(Path(__file__).with_name("hooks"))]
