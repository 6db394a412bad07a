"""What PyInstaller calls when it freezes a program that imports micropie: this package's entry
point ``pyinstaller40`` is ``hook_directories``.

``hooks/hook-micropie.py`` lists the modules that such a program needs.
"""

from __future__ import annotations

from pathlib import Path


def hook_directories() -> list[str]:
    """Return the folder with ``hook-micropie.py``."""
    return [str(Path(__file__).with_name("hooks"))]
