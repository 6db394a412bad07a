"""An application with a small and a large file, for the tests of files that the server sends
itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from micropie import App

LARGE = os.urandom(600 * 1024)


def files_in(folder: Path) -> Path:
    """Write both files and return the path of the large one."""
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "small.txt").write_bytes(b"small")
    return folder / "large.bin"


def app_for(place: Path) -> App:
    """Return an application that serves the directory of ``place`` below ``/static``."""
    app = App()
    app.static("/static", place.parent)
    return app
