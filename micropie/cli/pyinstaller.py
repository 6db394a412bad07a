"""What PyInstaller asks for when a program that imports micropie is frozen: the entry point
``pyinstaller40`` of the package names ``hook_directories``.

``hooks/hook-micropie.py`` has the modules that such a program needs.
"""

from __future__ import annotations

from pathlib import Path


def hook_directories() -> list[str]:
    """Return the folder with ``hook-micropie.py``."""
    return [str(Path(__file__).with_name("hooks"))]
